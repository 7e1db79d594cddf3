//! What the split patterns ask of a character: letter, number, white space or something else.

use std::sync::LazyLock;

use tokenizers::SplitDelimiterBehavior;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

/// A letter, `\p{L}`.
pub(super) const LETTER: u8 = 1;
/// A number, `\p{N}`.
pub(super) const NUMBER: u8 = 2;
/// White space, `\s`.
pub(super) const SPACE: u8 = 4;
/// Neither letter, number nor white space: `[^\s\p{L}\p{N}]`.
pub(super) const OTHER: u8 = 8;
/// A carriage return or line feed; always together with [`SPACE`].
pub(super) const NEWLINE: u8 = 16;
/// A character that stands alone and ends whatever is beside it, as the text's end does.
pub(super) const ISOLATED: u8 = 32;

/// Han characters, as `tokenizer.json` names them.
pub(super) const HAN_PATTERN: &str = r"\p{Han}";

/// Characters of one block of the table.
const BLOCK: usize = 256;
/// The planes that hold characters other than unassigned and private ones.
const PLANES: [u32; 5] = [0, 1, 2, 3, 14];

/// The class of every character, in blocks of 256 of which equal ones are stored once.
#[derive(Debug, Clone)]
pub(super) struct CharClasses {
    /// The class of one-byte characters; zero for the bytes of longer ones.
    ascii: [u8; 256],
    /// Where the block of a character starts in `classes`, by character / 256.
    blocks: Vec<u32>,
    classes: Vec<u8>,
}

impl CharClasses {
    /// The classes as the regex engine of the `tokenizers` crate sees them. It is the engine that is
    /// asked: its Unicode version, and so the class of a character, is not that of the standard
    /// library. Nothing if it does not take the patterns.
    pub(super) fn of_engine() -> Option<&'static Self> {
        static CLASSES: LazyLock<Option<CharClasses>> = LazyLock::new(|| {
            let by_char = engine_classes()?;
            Some(CharClasses::from_table(&by_char))
        });
        CLASSES.as_ref()
    }

    /// The same, but every character that is numeric for the `Digits` pre-tokenizer stands alone.
    pub(super) fn with_isolated_digits(&self) -> Self {
        self.with_isolated(|c| char::from_u32(c).is_some_and(char::is_numeric))
    }

    /// The same, but every Han character, by the regex engine, stands alone. Nothing if the engine does
    /// not take the pattern.
    pub(super) fn with_isolated_han(&self) -> Option<Self> {
        let mut is_han = vec![false; 0x11_0000];
        for_each_match(&all_characters(), HAN_PATTERN, |c| {
            is_han[c as usize] = true
        })?;
        Some(self.with_isolated(|c| is_han[c as usize]))
    }

    fn with_isolated(&self, is_isolated: impl Fn(u32) -> bool) -> Self {
        let mut by_char = vec![OTHER; 0x11_0000];
        for (character, class) in (0..).zip(&mut by_char) {
            *class = match is_isolated(character) {
                true => ISOLATED,
                false => self.of(character),
            };
        }
        Self::from_table(&by_char)
    }

    /// The class of a one-byte character, zero for the first byte of a longer one.
    #[inline]
    pub(super) fn of_ascii(&self, byte: u8) -> u8 {
        self.ascii[byte as usize]
    }

    /// The class of a character.
    #[inline]
    pub(super) fn of(&self, character: u32) -> u8 {
        let start = self.blocks[character as usize / BLOCK];
        self.classes[start as usize + character as usize % BLOCK]
    }

    /// The class of the character that starts at `position`, and its length in bytes. `text` is the
    /// bytes of a `str` and `position` lies within, at a character's start.
    #[inline]
    pub(super) fn at(&self, text: &[u8], position: usize) -> (u8, usize) {
        let byte = text[position];
        if byte < 0x80 {
            return (self.ascii[byte as usize], 1);
        }
        let (character, n_bytes) = decode(text, position);
        (self.of(character), n_bytes)
    }

    fn from_table(by_char: &[u8]) -> Self {
        let mut starts = rustc_hash::FxHashMap::default();
        let (mut blocks, mut classes) = (Vec::new(), Vec::new());
        for block in by_char.chunks(BLOCK) {
            let start = *starts.entry(block).or_insert_with(|| {
                let start = classes.len();
                classes.extend_from_slice(block);
                start as u32
            });
            blocks.push(start);
        }
        let mut ascii = [0; 256];
        ascii[..128].copy_from_slice(&by_char[..128]);
        Self {
            ascii,
            blocks,
            classes,
        }
    }
}

/// The character that starts at `position` of the bytes of a `str`, and its length in bytes.
#[inline]
pub(super) fn decode(text: &[u8], position: usize) -> (u32, usize) {
    let byte = |offset: usize| u32::from(text[position + offset]);
    let low = |offset: usize| byte(offset) & 0x3f;
    match byte(0) {
        first if first < 0x80 => (first, 1),
        first if first < 0xe0 => ((first & 0x1f) << 6 | low(1), 2),
        first if first < 0xf0 => ((first & 0x0f) << 12 | low(1) << 6 | low(2), 3),
        first => (
            (first & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3),
            4,
        ),
    }
}

/// The class of every character, each pattern searched once in a text of all of them.
fn engine_classes() -> Option<Vec<u8>> {
    let mut by_char = vec![OTHER; 0x11_0000];
    let all = all_characters();
    for (pattern, class) in [(r"\p{L}+", LETTER), (r"\p{N}+", NUMBER), (r"\s+", SPACE)] {
        for_each_match(&all, pattern, |c| by_char[c as usize] = class)?;
    }
    by_char['\r' as usize] |= NEWLINE;
    by_char['\n' as usize] |= NEWLINE;
    Some(by_char)
}

fn all_characters() -> String {
    PLANES
        .iter()
        .flat_map(|plane| (plane << 16..(plane + 1) << 16).filter_map(char::from_u32))
        .collect()
}

/// Calls `visit` with every character of a text that the regex engine finds a pattern to match.
fn for_each_match(text: &str, pattern: &str, mut visit: impl FnMut(char)) -> Option<()> {
    let pattern = SplitPattern::Regex(pattern.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).ok()?;
    for (start, end) in split.regex.find_iter(text) {
        text[start..end].chars().for_each(&mut visit);
    }
    Some(())
}
