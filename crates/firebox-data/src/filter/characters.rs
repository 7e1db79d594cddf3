//! What a text's characters are, counted in one pass.

use unicode_normalization::char::is_combining_mark;

/// Bytes looked at together while they are ASCII.
const BLOCK_BYTES: usize = 64;

/// Characters of a text by class, and its words.
///
/// A *letter* is alphabetic, a *digit* any other alphanumeric character, a *space* what Python's
/// `str.isspace` calls one, a *symbol* everything else but combining marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CharacterCounts {
    pub(super) n_characters: usize,
    pub(super) n_letters: usize,
    pub(super) n_digits: usize,
    pub(super) n_spaces: usize,
    pub(super) n_marks: usize,
    /// Runs between spaces.
    pub(super) n_spaced_words: usize,
    /// The same, but each character of a script that writes no spaces is a word of its own.
    pub(super) n_words: usize,
    /// Characters of scripts that write no spaces.
    pub(super) n_unspaced: usize,
}

impl CharacterCounts {
    pub(super) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut counts = Self::default();
        let mut before = Before::Space;
        let mut at = 0;
        while at < bytes.len() {
            if let Some(block) = bytes[at..].first_chunk::<BLOCK_BYTES>()
                && before != Before::Unspaced
                && block.is_ascii()
            {
                counts.add_ascii(block, &mut before);
                at += BLOCK_BYTES;
                continue;
            }
            let end = text.ceil_char_boundary((at + BLOCK_BYTES).min(bytes.len()));
            for character in text[at..end].chars() {
                if character.is_ascii() && before != Before::Unspaced {
                    counts.add_ascii_character(character as u8, &mut before);
                } else {
                    counts.add(character, &mut before);
                }
            }
            at = end;
        }
        counts
    }

    /// Characters that are neither letter, digit, mark nor space.
    pub(super) fn n_symbols(&self) -> usize {
        self.n_visible() - self.n_letters - self.n_digits - self.n_marks
    }

    /// Characters that are not spaces.
    pub(super) fn n_visible(&self) -> usize {
        self.n_characters - self.n_spaces
    }

    /// Plain loops over arrays of one length, which compile to vector code.
    fn add_ascii(&mut self, block: &[u8; BLOCK_BYTES], before: &mut Before) {
        let mut spaces = [0u8; BLOCK_BYTES];
        for (space, &byte) in spaces.iter_mut().zip(block) {
            *space = u8::from(is_ascii_space(byte));
        }
        let mut n_letters = 0u8;
        let mut n_digits = 0u8;
        for &byte in block {
            n_letters += u8::from((byte | 0x20).wrapping_sub(b'a') < 26);
            n_digits += u8::from(byte.wrapping_sub(b'0') < 10);
        }
        let n_spaces: u8 = spaces.iter().sum();
        let mut n_starts = u8::from(*before == Before::Space) & (1 - spaces[0]);
        for (&left, &right) in spaces.iter().zip(&spaces[1..]) {
            n_starts += left & (1 - right);
        }
        self.n_characters += BLOCK_BYTES;
        self.n_letters += usize::from(n_letters);
        self.n_digits += usize::from(n_digits);
        self.n_spaces += usize::from(n_spaces);
        self.n_spaced_words += usize::from(n_starts);
        self.n_words += usize::from(n_starts);
        *before = match spaces[BLOCK_BYTES - 1] {
            1 => Before::Space,
            _ => Before::Word,
        };
    }

    /// One ASCII character, not behind one of a script without spaces.
    fn add_ascii_character(&mut self, byte: u8, before: &mut Before) {
        let is_space = is_ascii_space(byte);
        let starts = usize::from(*before == Before::Space && !is_space);
        self.n_characters += 1;
        self.n_letters += usize::from(byte.is_ascii_alphabetic());
        self.n_digits += usize::from(byte.is_ascii_digit());
        self.n_spaces += usize::from(is_space);
        self.n_spaced_words += starts;
        self.n_words += starts;
        *before = if is_space {
            Before::Space
        } else {
            Before::Word
        };
    }

    fn add(&mut self, character: char, before: &mut Before) {
        self.n_characters += 1;
        if is_space(character) {
            self.n_spaces += 1;
            *before = Before::Space;
            return;
        }
        let is_word = if character.is_alphabetic() {
            self.n_letters += 1;
            true
        } else if character.is_alphanumeric() {
            self.n_digits += 1;
            true
        } else {
            self.n_marks += usize::from(is_combining_mark(character));
            false
        };
        let starts_spaced = *before == Before::Space;
        self.n_spaced_words += usize::from(starts_spaced);
        if is_unspaced(character) {
            self.n_unspaced += 1;
            self.n_words += 1;
            *before = Before::Unspaced;
        } else if *before == Before::Unspaced {
            // Punctuation after a Chinese character ends it; a letter or digit starts a word.
            if is_word {
                self.n_words += 1;
                *before = Before::Word;
            }
        } else {
            self.n_words += usize::from(starts_spaced);
            *before = Before::Word;
        }
    }
}

/// What came before a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Space,
    Word,
    /// A character of a script without spaces, or punctuation after one.
    Unspaced,
}

/// Python's `str.isspace`, which has the four ASCII separators too; `str.split` cuts there.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// [`is_space`] of an ASCII byte.
pub(super) const fn is_ascii_space(byte: u8) -> bool {
    byte.wrapping_sub(9) < 5 || byte.wrapping_sub(0x1c) < 5
}

/// Whether a character belongs to a script that puts no spaces between words: Chinese characters, kana,
/// Thai, Lao, Myanmar, Khmer. Korean has spaces.
pub(super) fn is_unspaced(character: char) -> bool {
    is_han(character)
        || is_kana(character)
        || matches!(character,
            '\u{0e01}'..='\u{0e4e}' | '\u{0e81}'..='\u{0ece}' | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17d3}')
}

/// Whether a character is a Chinese character, in any of the languages that write them.
pub(super) fn is_han(character: char) -> bool {
    matches!(character,
        '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Whether a character is Hiragana or Katakana.
pub(super) fn is_kana(character: char) -> bool {
    matches!(character,
        '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9d}')
}

#[cfg(test)]
mod tests;
