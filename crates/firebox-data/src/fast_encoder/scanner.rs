//! Splitting text where the known split patterns do, in one pass without a regex engine.

use super::char_class::{CharClasses, ISOLATED, LETTER, NEWLINE, NUMBER, OTHER, SPACE};

/// The split pattern of GPT-2, which `ByteLevel` applies too.
pub(super) const GPT2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// The split pattern of Llama 3.
pub(crate) const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The split pattern of Qwen2.
pub(crate) const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The patterns that differ from Llama 3's in nothing but the length of numbers.
pub(super) const LLAMA3_PATTERNS: [(&str, usize); 4] = [
    (LLAMA3_PATTERN, 3),
    (QWEN2_PATTERN, 1),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        3,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        2,
    ),
];

/// A split pattern that is known by heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitRule {
    /// GPT-2's: words and numbers with the space before them, white space.
    Gpt2,
    /// Llama 3's (cl100k's, Qwen2's): words with one sign before them, numbers of at most so many
    /// digits, signs with the line ends behind them, white space.
    Llama3 {
        /// Digits of the longest number that is not split.
        max_digits: usize,
    },
}

impl SplitRule {
    /// The rule of a pattern, if it is a known one.
    pub(super) fn of_pattern(pattern: &str) -> Option<Self> {
        if pattern == GPT2_PATTERN {
            return Some(Self::Gpt2);
        }
        let known = LLAMA3_PATTERNS.iter().find(|(known, _)| *known == pattern);
        known.map(|&(_, max_digits)| Self::Llama3 { max_digits })
    }
}

/// Finds where words end.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    rule: SplitRule,
    classes: CharClasses,
}

impl Scanner {
    pub(super) fn new(rule: SplitRule, classes: CharClasses) -> Self {
        Self { rule, classes }
    }

    /// Where the word that starts at `start` ends. `text` is the bytes of a `str`, `start` lies
    /// within, at the start of a word; the result is larger.
    #[inline]
    pub(super) fn word_end(&self, text: &[u8], start: usize) -> usize {
        match self.rule {
            SplitRule::Gpt2 => self.gpt2_word_end(text, start),
            SplitRule::Llama3 { max_digits } => self.llama3_word_end(text, start, max_digits),
        }
    }

    #[inline]
    fn gpt2_word_end(&self, text: &[u8], start: usize) -> usize {
        let (class, n_bytes) = self.classes.at(text, start);
        let after = start + n_bytes;
        if class == LETTER {
            return self.run_end(text, after, LETTER);
        }
        if text[start] == b'\''
            && let Some(end) = contraction_end(text, start, false)
        {
            return end;
        }
        if text[start] == b' ' && after < text.len() {
            let (next, n_bytes) = self.classes.at(text, after);
            if next & (LETTER | NUMBER | OTHER) != 0 {
                return self.run_end(text, after + n_bytes, next);
            }
        }
        match class {
            ISOLATED => after,
            NUMBER | OTHER => self.run_end(text, after, class),
            _ => self.blank_end(text, start, after),
        }
    }

    #[inline]
    fn llama3_word_end(&self, text: &[u8], start: usize, max_digits: usize) -> usize {
        let (class, n_bytes) = self.classes.at(text, start);
        let after = start + n_bytes;
        if class == LETTER {
            return self.run_end(text, after, LETTER);
        }
        if text[start] == b'\''
            && let Some(end) = contraction_end(text, start, true)
        {
            return end;
        }
        let next = (after < text.len()).then(|| self.classes.at(text, after));
        let (next_class, next_bytes) = next.unwrap_or((0, 0));
        if next_class == LETTER && (class == OTHER || class == SPACE) {
            return self.run_end(text, after + next_bytes, LETTER);
        }
        if text[start] == b' ' && next_class == OTHER {
            let end = self.run_end(text, after + next_bytes, OTHER);
            return self.run_end(text, end, NEWLINE);
        }
        match class {
            ISOLATED => after,
            NUMBER => self.number_end(text, after, max_digits - 1),
            OTHER => {
                let end = self.run_end(text, after, OTHER);
                self.run_end(text, end, NEWLINE)
            }
            _ => self.blank_or_lines_end(text, start, after),
        }
    }

    /// The end of the characters from `position` on that have one of the classes.
    #[inline]
    fn run_end(&self, text: &[u8], mut position: usize, classes: u8) -> usize {
        loop {
            while let Some(&byte) = text.get(position)
                && self.classes.of_ascii(byte) & classes != 0
            {
                position += 1;
            }
            match text.get(position) {
                Some(&byte) if byte >= 0x80 => {
                    let (class, n_bytes) = self.classes.at(text, position);
                    if class & classes == 0 {
                        return position;
                    }
                    position += n_bytes;
                }
                _ => return position,
            }
        }
    }

    /// The end of at most `n_more` numbers from `position` on.
    fn number_end(&self, text: &[u8], mut position: usize, n_more: usize) -> usize {
        for _ in 0..n_more {
            match (position < text.len()).then(|| self.classes.at(text, position)) {
                Some((NUMBER, n_bytes)) => position += n_bytes,
                _ => break,
            }
        }
        position
    }

    /// `\s+(?!\S)|\s+`: white space, whose last character belongs to the word behind it.
    fn blank_end(&self, text: &[u8], start: usize, after: usize) -> usize {
        let end = self.run_end(text, after, SPACE);
        if end == after || end == text.len() || self.classes.at(text, end).0 == ISOLATED {
            return end;
        }
        let last = last_char_start(text, start, end);
        if last == start { end } else { last }
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`: white space up to its last line end, or as above.
    fn blank_or_lines_end(&self, text: &[u8], start: usize, after: usize) -> usize {
        let end = self.run_end(text, after, SPACE);
        let last_line_end = memchr::memrchr2(b'\r', b'\n', &text[start..end]);
        match last_line_end {
            Some(offset) => start + offset + 1,
            None => self.blank_end(text, start, after),
        }
    }
}

/// Where the last character of `text[start..end]` starts.
fn last_char_start(text: &[u8], start: usize, end: usize) -> usize {
    let mut position = end - 1;
    while position > start && text[position] & 0xc0 == 0x80 {
        position -= 1;
    }
    position
}

/// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at `start`, where an apostrophe stands.
/// Without regard to case, `ſ` (U+017F) is an `s` too.
fn contraction_end(text: &[u8], start: usize, any_case: bool) -> Option<usize> {
    let letter = |offset: usize| {
        let byte = *text.get(start + offset)?;
        Some(if any_case {
            byte.to_ascii_lowercase()
        } else {
            byte
        })
    };
    match (letter(1)?, letter(2)) {
        (b's' | b't' | b'm' | b'd', _) => Some(start + 2),
        (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(start + 3),
        (0xc5, Some(0xbf)) if any_case => Some(start + 3),
        _ => None,
    }
}
