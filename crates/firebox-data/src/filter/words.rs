//! Words: how a text is cut into the units that the rules count.

mod chunk;
mod segmenter;
mod signs;

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

pub(super) use segmenter::Segmenter;
pub use segmenter::WordCounting;

use super::characters::{is_ascii_space, is_space};
use super::punctuation::is_punctuation;

/// One word of a text: a word proper, a number, or punctuation.
///
/// Two words are taken for the same when their 64-bit hashes are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// xxh3 of its bytes.
    pub(super) hash: u64,
    /// Where it starts in the text, in bytes.
    pub(super) start: usize,
    pub(super) n_bytes: usize,
    pub(super) n_characters: usize,
    /// Whether one of its characters is alphabetic.
    pub(super) has_letter: bool,
    /// Whether all its characters are punctuation.
    pub(super) is_symbol: bool,
}

impl Word {
    /// A word of ASCII letters.
    fn of_letters(text: &str, start: usize) -> Self {
        Self {
            hash: xxh3_64(text.as_bytes()),
            start,
            n_bytes: text.len(),
            n_characters: text.len(),
            has_letter: true,
            is_symbol: false,
        }
    }

    fn new(text: &str, start: usize) -> Self {
        let bytes = text.as_bytes();
        let (n_characters, has_letter, is_symbol) = if text.is_ascii() {
            (
                bytes.len(),
                bytes.iter().any(u8::is_ascii_alphabetic),
                !bytes.iter().any(u8::is_ascii_alphanumeric),
            )
        } else {
            (
                text.chars().count(),
                text.chars().any(char::is_alphabetic),
                text.chars().all(is_punctuation),
            )
        };
        Self {
            hash: xxh3_64(bytes),
            start,
            n_bytes: bytes.len(),
            n_characters,
            has_letter,
            is_symbol,
        }
    }
}

/// Cuts a text into words, after spaCy's rules for English, which datatrove counts by.
///
/// Between spaces, punctuation around a word is cut off, character by character; a word is cut at hyphens
/// and slashes between letters, before `n't`, `'s` and the like, and between a number and its unit. Runs of
/// a script without spaces are cut as the [`Segmenter`] says.
pub(super) fn split_words(text: &str, segmenter: &Segmenter) -> Vec<Word> {
    let mut words = Vec::with_capacity(text.len() / 4 + 1);
    for_each_chunk(text, |start, end, kind| {
        let chunk = &text[start..end];
        if kind == ChunkKind::Plain && !is_two_words(chunk) {
            return words.push(Word::of_letters(chunk, start));
        }
        split_chunk(chunk, start, segmenter, &mut |word: Range<usize>| {
            words.push(Word::new(&text[word.clone()], word.start));
        });
    });
    words
}

/// Calls `found` with the range of each word that [`split_words`] gives.
pub(super) fn for_each_word(
    text: &str,
    segmenter: &Segmenter,
    mut found: impl FnMut(Range<usize>),
) {
    for_each_chunk(text, |start, end, kind| {
        let chunk = &text[start..end];
        if kind == ChunkKind::Plain && !is_two_words(chunk) {
            return found(start..end);
        }
        split_chunk(chunk, start, segmenter, &mut found);
    });
}

fn split_chunk(
    chunk: &str,
    start: usize,
    segmenter: &Segmenter,
    found: &mut dyn FnMut(Range<usize>),
) {
    if chunk.is_ascii() {
        chunk::split(chunk, start, found);
    } else {
        segmenter.split(chunk, start, found);
    }
}

/// The one word that is two without a mark between them.
fn is_two_words(chunk: &str) -> bool {
    matches!(chunk, "cannot" | "Cannot")
}

/// What a chunk between spaces is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkKind {
    /// ASCII letters: one word, but for `cannot`.
    Plain,
    Other,
}

/// Calls `found` with start, end and kind of each run between spaces.
fn for_each_chunk(text: &str, mut found: impl FnMut(usize, usize, ChunkKind)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let mut seen = 0;
        while at < bytes.len() {
            let class = CLASSES[usize::from(bytes[at])];
            if class == SPACE {
                break;
            }
            if class == WIDE && starts_with_space(&text[at..]) {
                break;
            }
            seen |= class;
            at += if class == WIDE { width(bytes[at]) } else { 1 };
        }
        if at > start {
            let kind = match seen {
                LETTER => ChunkKind::Plain,
                _ => ChunkKind::Other,
            };
            found(start, at, kind);
        }
        if at < bytes.len() {
            at += width(bytes[at]);
        }
    }
}

fn starts_with_space(text: &str) -> bool {
    text.chars().next().is_some_and(is_space)
}

/// Bytes of the character that starts with this one.
const fn width(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

const SPACE: u8 = 0;
const LETTER: u8 = 1;
const OTHER: u8 = 2;
const WIDE: u8 = 4;

/// The class of each byte.
static CLASSES: [u8; 256] = {
    let mut classes = [WIDE; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte as usize] = if is_ascii_space(byte) {
            SPACE
        } else if byte.is_ascii_alphabetic() {
            LETTER
        } else {
            OTHER
        };
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests;
