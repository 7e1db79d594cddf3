//! What a character does to a text that is being simplified.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::char::decompose_canonical;

/// Leaves no trace.
pub(super) const DROPPED: u8 = 0;
/// Ends a word.
pub(super) const SPACE: u8 = 1;
/// Belongs to a word.
pub(super) const LETTER: u8 = 2;
/// Belongs to a word, and may be merged with its like.
pub(super) const DIGIT: u8 = 4;
/// A token of its own: Han, kana and the other scripts that are written without spaces.
pub(super) const UNSPACED: u8 = 8;
/// Punctuation, the symbols of ASCII and the few others that datatrove removes, and characters that only
/// control (categories Cc and Cf).
pub(super) const PUNCTUATION: u8 = 16;
/// A mark without width: accents, Arabic vowels, variation selectors.
pub(super) const MARK: u8 = 32;
/// Set beside the class where lower case or canonical decomposition change the character.
pub(super) const CHANGES: u8 = 128;

/// Characters below this have an entry in the table.
const TABLE_LEN: u32 = 0x2_0000;

/// The symbols outside ASCII and outside the category P that datatrove removes.
const DATATROVE_SYMBOLS: &str = "´━►∶～＋＜＝＞＾｀｜＄";

const UNSPACED_SCRIPTS: &str = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]";

static TABLE: LazyLock<Box<[u8]>> = LazyLock::new(build_table);

/// The class of any character, with [`CHANGES`] where it applies.
#[inline]
pub(super) fn class_of(c: char) -> u8 {
    match TABLE.get(c as usize) {
        Some(&class) => class,
        None => class_beyond_table(c),
    }
}

/// The planes past the first two: ideographs, and marks for variants.
fn class_beyond_table(c: char) -> u8 {
    match c as u32 {
        0x2_F800..=0x2_FA1F => UNSPACED | CHANGES,
        0x2_0000..=0x3_FFFF => UNSPACED,
        0xE_0100..=0xE_01EF => MARK,
        _ => LETTER,
    }
}

fn build_table() -> Box<[u8]> {
    let all: String = (0..TABLE_LEN).filter_map(char::from_u32).collect();
    let mut table = vec![LETTER; TABLE_LEN as usize].into_boxed_slice();
    // A later line wins over an earlier one.
    mark(&mut table, &all, UNSPACED_SCRIPTS, UNSPACED);
    mark(&mut table, &all, r"\p{Nd}", DIGIT);
    mark(
        &mut table,
        &all,
        r"[\p{P}\p{Cc}\p{Cf}$+<=>^`|~]",
        PUNCTUATION,
    );
    mark(&mut table, &all, r"\p{Mn}", MARK);
    mark(&mut table, &all, r"[\s\x1c-\x1f]", SPACE);
    for symbol in DATATROVE_SYMBOLS.chars() {
        table[symbol as usize] = PUNCTUATION;
    }
    for c in all.chars() {
        if changes(c) {
            table[c as usize] |= CHANGES;
        }
    }
    table
}

/// Sets the class of every character of `all` that the pattern, which is one of ours, matches.
fn mark(table: &mut [u8], all: &str, pattern: &str, class: u8) {
    let pattern = Regex::new(pattern).expect("this is a bug in firebox-data: a class must compile");
    for found in pattern.find_iter(all) {
        for c in found.as_str().chars() {
            table[c as usize] = class;
        }
    }
}

fn changes(c: char) -> bool {
    let mut same = true;
    decompose_canonical(c, |part| same &= part == c);
    same &= c.to_lowercase().eq([c]);
    !same
}
