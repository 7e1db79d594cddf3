//! Simplified texts: what two documents must share to count as the same.

use serde::{Deserialize, Serialize};
use unicode_normalization::char::decompose_canonical;

use super::character_class::{
    CHANGES, DIGIT, DROPPED, LETTER, MARK, PUNCTUATION, SPACE, UNSPACED, class_of,
};
use super::compatibility::nfkc;

/// What is left of a text before it is compared.
///
/// White space is always merged into single spaces, and removed at both ends. The default is
/// datatrove's `simplify_text`: lower case, no punctuation, no accents, each run of digits one `0`.
/// Three differences: all of Unicode's punctuation is removed, not a list of it, and format characters
/// with it; white space around a lone punctuation mark is merged too; and a capital sigma is never written
/// as final sigma.
///
/// Source: datatrove, `utils/text.py`, `simplify_text` and `TextNormConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simplification {
    /// Which forms of a character are one.
    pub unicode: UnicodeForm,
    /// Capitals become small letters.
    pub lowercase: bool,
    /// Punctuation (the category P, the symbols of ASCII) and characters that only control (Cc and Cf)
    /// disappear; the words around them are not parted: `well-known` becomes `wellknown`.
    pub remove_punctuation: bool,
    /// Each run of digits becomes `0`.
    pub merge_numbers: bool,
}

/// Which forms of a character are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnicodeForm {
    /// None: code points are compared.
    AsWritten,
    /// Unicode's NFKC: full-width and half-width forms, ligatures, composed accents.
    Nfkc,
    /// Unicode's NFD without its marks (category Mn): `é` is `e`, `が` is `か`.
    Unaccented,
}

impl Default for Simplification {
    fn default() -> Self {
        Self {
            unicode: UnicodeForm::Unaccented,
            lowercase: true,
            remove_punctuation: true,
            merge_numbers: true,
        }
    }
}

/// A simplified text, cut into tokens: words, and single characters of scripts without spaces.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct SimpleText {
    /// UTF-8, with one space between words.
    pub(crate) bytes: Vec<u8>,
    /// Where each token ends, in bytes. A token starts where the one before ends, past a space.
    ends: Vec<u32>,
}

impl SimpleText {
    /// Tokens in the text.
    pub(crate) fn n_tokens(&self) -> usize {
        self.ends.len()
    }

    /// The tokens, in order.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            start += usize::from(self.bytes[start] == b' ');
            let token = &self.bytes[start..end as usize];
            start = end as usize;
            token
        })
    }

    /// The text from one token to another, the second not included.
    pub(crate) fn excerpt(&self, from: usize, to: usize) -> String {
        let start = from.checked_sub(1).map_or(0, |i| self.ends[i] as usize);
        let end = to.checked_sub(1).map_or(0, |i| self.ends[i] as usize);
        String::from_utf8_lossy(&self.bytes[start..end.max(start)])
            .trim_start()
            .to_owned()
    }
}

/// Simplifies texts.
#[derive(Debug, Clone)]
pub(crate) struct Simplifier {
    config: Simplification,
    /// What makes eight letters small, if they are to be.
    lowercase_bits: u64,
    /// What each byte of ASCII becomes, below its class; the upper half is not used.
    ascii: [u16; 256],
    /// Classes that are written once where they follow themselves.
    merged: u8,
}

/// What was written last, and where.
struct Output {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// The class of the last character written; a space at the start.
    last: u8,
}

impl Simplifier {
    pub(crate) fn new(config: &Simplification) -> Self {
        let mut simplifier = Self {
            config: config.clone(),
            lowercase_bits: if config.lowercase { CASE_BITS } else { 0 },
            ascii: [0; 256],
            merged: SPACE | if config.merge_numbers { DIGIT } else { 0 },
        };
        for byte in 0..128_u8 {
            let class = simplifier.role(class_of(char::from(byte)) & !CHANGES);
            let written = match class {
                SPACE => b' ',
                DIGIT => b'0',
                _ if config.lowercase => byte.to_ascii_lowercase(),
                _ => byte,
            };
            simplifier.ascii[usize::from(byte)] = u16::from_le_bytes([written, class]);
        }
        simplifier
    }

    /// Simplifies a text, and finds its tokens.
    ///
    /// Texts past 409 MiB are cut there: positions have 32 bits, and a text may grow. Readers refuse such
    /// records long before.
    pub(crate) fn simplify(&self, text: &str) -> SimpleText {
        let composed = (self.config.unicode == UnicodeForm::Nfkc).then(|| nfkc(text));
        let text = cut_to_32_bits(composed.as_deref().unwrap_or(text));
        let mut output = Output {
            bytes: Vec::with_capacity(text.len() + 1),
            ends: Vec::with_capacity(text.len() / 4 + 1),
            last: SPACE,
        };
        let mut rest = text;
        while !rest.is_empty() {
            let (ascii, after) = rest.split_at(ascii_len(rest.as_bytes()));
            self.write_ascii(ascii.as_bytes(), &mut output);
            rest = after;
            while let Some(c) = rest.chars().next().filter(|c| !c.is_ascii()) {
                self.write_char(c, &mut output);
                rest = &rest[c.len_utf8()..];
            }
        }
        output.finish()
    }

    /// What a class comes to under this config.
    fn role(&self, class: u8) -> u8 {
        match class {
            PUNCTUATION if self.config.remove_punctuation => DROPPED,
            MARK if self.config.unicode == UnicodeForm::Unaccented => DROPPED,
            DIGIT if !self.config.merge_numbers => LETTER,
            PUNCTUATION | MARK => LETTER,
            other => other,
        }
    }

    /// Copies up to eight letters at once, and decides about other bytes without a branch: neither follows a
    /// pattern that a processor could learn.
    fn write_ascii(&self, text: &[u8], output: &mut Output) {
        let (n_bytes, n_ends) = (output.bytes.len(), output.ends.len());
        output.bytes.resize(n_bytes + text.len() + 8, 0);
        output.ends.resize(n_ends + text.len() / 2 + 2, 0);
        let (bytes, ends) = (&mut output.bytes[n_bytes..], &mut output.ends[n_ends..]);
        let (mut at, mut n_closed, mut last) = (0_usize, 0_usize, output.last);
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(&eight) = rest.first_chunk::<8>() {
                let eight = u64::from_le_bytes(eight);
                let n_letters = letters_at_start(eight);
                // What is written past the letters is overwritten or cut.
                let small = eight | self.lowercase_bits;
                bytes[at..at + 8].copy_from_slice(&small.to_le_bytes());
                at += n_letters;
                last = if n_letters == 0 { last } else { LETTER };
                rest = &rest[n_letters..];
                if n_letters == 8 {
                    continue;
                }
            }
            let [simple, class] = self.ascii[usize::from(rest[0])].to_le_bytes();
            let is_new = class & last & self.merged == 0;
            let closes = (class == SPACE) & (last & (LETTER | DIGIT) != 0);
            bytes[at] = simple;
            ends[n_closed] = (n_bytes + at) as u32;
            at += usize::from((class != DROPPED) & is_new);
            n_closed += usize::from(closes);
            last = if class == DROPPED { last } else { class };
            rest = &rest[1..];
        }
        output.last = last;
        output.bytes.truncate(n_bytes + at);
        output.ends.truncate(n_ends + n_closed);
    }

    fn write_char(&self, c: char, output: &mut Output) {
        let class = class_of(c);
        if class & CHANGES == 0 || class & !CHANGES == SPACE {
            return output.push(c, self.role(class & !CHANGES), self.merged);
        }
        if self.config.lowercase {
            for small in c.to_lowercase() {
                self.write_parts(small, output);
            }
        } else {
            self.write_parts(c, output);
        }
    }

    fn write_parts(&self, c: char, output: &mut Output) {
        let mut write = |part| {
            let role = self.role(class_of(part) & !CHANGES);
            output.push(part, role, self.merged);
        };
        if self.config.unicode == UnicodeForm::Unaccented {
            decompose_canonical(c, write);
        } else {
            write(c);
        }
    }
}

impl Output {
    fn push(&mut self, c: char, class: u8, merged: u8) {
        if class == DROPPED || class & self.last & merged != 0 {
            return;
        }
        if class & (SPACE | UNSPACED) != 0 {
            self.close_word();
        }
        match class {
            SPACE => self.bytes.push(b' '),
            DIGIT => self.bytes.push(b'0'),
            _ => {
                let mut utf8 = [0; 4];
                self.bytes
                    .extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            }
        }
        if class == UNSPACED {
            self.ends.push(self.bytes.len() as u32);
        }
        self.last = class;
    }

    fn close_word(&mut self) {
        if self.last & (LETTER | DIGIT) != 0 {
            self.ends.push(self.bytes.len() as u32);
        }
    }

    fn finish(mut self) -> SimpleText {
        self.close_word();
        if self.last == SPACE {
            self.bytes.pop();
        }
        SimpleText {
            bytes: self.bytes,
            ends: self.ends,
        }
    }
}

/// One in each of eight bytes.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The bit by which small letters differ from capitals, in each of eight bytes.
const CASE_BITS: u64 = 0x20 * ONES;
const HIGH_BITS: u64 = 0x80 * ONES;

/// How many of eight bytes of ASCII, the lowest first, are letters before the first that is none.
fn letters_at_start(eight: u64) -> usize {
    let small = eight | CASE_BITS;
    // Additions that set a byte's high bit from `a` on, and past `z`; none carries into the next byte.
    let from_a = small + u64::from(0x80 - b'a') * ONES;
    let past_z = small + u64::from(0x7F - b'z') * ONES;
    let others = (!from_a | past_z) & HIGH_BITS;
    others.trailing_zeros() as usize / 8
}

/// Bytes of ASCII at the start.
fn ascii_len(bytes: &[u8]) -> usize {
    let mut n_ascii = 0;
    for word in bytes.chunks_exact(8) {
        let mut eight = [0; 8];
        eight.copy_from_slice(word);
        let high = u64::from_le_bytes(eight) & HIGH_BITS;
        if high != 0 {
            return n_ascii + high.trailing_zeros() as usize / 8;
        }
        n_ascii += 8;
    }
    let tail = &bytes[n_ascii..];
    n_ascii + tail.iter().take_while(|byte| byte.is_ascii()).count()
}

/// Lower case and canonical decomposition make a text at most five times as long.
fn cut_to_32_bits(text: &str) -> &str {
    const LIMIT: usize = u32::MAX as usize / 10;
    if text.len() <= LIMIT {
        return text;
    }
    &text[..text.floor_char_boundary(LIMIT)]
}

#[cfg(test)]
mod tests;
