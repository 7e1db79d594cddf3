//! UTF-8 that was read as GBK: Chinese characters, but rare ones in senseless order.

use encoding_rs::{EncoderResult, GBK};

use super::super::characters::is_han;

/// Fewest characters of a run that is looked at; shorter ones may be valid by chance.
const FEWEST_CHARACTERS: usize = 3;

/// The run read again as UTF-8, if its bytes are valid as a whole and its characters are then commoner.
pub(super) fn repair(run: &str) -> Option<String> {
    let first = run.chars().next()?;
    if !is_han(first) || run.chars().nth(FEWEST_CHARACTERS - 1).is_none() {
        return None;
    }
    // UTF-8 of Chinese and Japanese text starts with these bytes.
    if !matches!(bytes_of(first)?[0], 0xe3..=0xe9 | 0xef) {
        return None;
    }
    let (bytes, _, has_unmapped) = GBK.encode(run);
    if has_unmapped {
        return None;
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    let (before, after) = (common_share(run), common_share(text));
    (after > before && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// Share of common characters: kana, punctuation, ASCII, and the 3755 Chinese characters of GB 2312's first
/// level, which make up all but a hundredth of running text.
fn common_share(text: &str) -> f64 {
    let mut n_characters = 0u32;
    let mut n_common = 0u32;
    for character in text.chars() {
        n_characters += 1;
        n_common += u32::from(!is_han(character) || is_first_level(character));
    }
    f64::from(n_common) / f64::from(n_characters.max(1))
}

/// Rows 16 to 55 of GB 2312.
fn is_first_level(character: char) -> bool {
    bytes_of(character).is_some_and(|[row, cell]| matches!(row, 0xb0..=0xd7) && cell >= 0xa1)
}

/// The two bytes of a character in GBK.
fn bytes_of(character: char) -> Option<[u8; 2]> {
    let mut utf8 = [0; 4];
    let mut bytes = [0; 8];
    let text = character.encode_utf8(&mut utf8);
    let (result, _, n_written) = GBK
        .new_encoder()
        .encode_from_utf8_without_replacement(text, &mut bytes, true);
    (result == EncoderResult::InputEmpty && n_written == 2).then_some([bytes[0], bytes[1]])
}
