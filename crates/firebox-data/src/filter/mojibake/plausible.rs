//! Whether what a stretch says as UTF-8 is likelier than what it says as it stands.

use unicode_normalization::char::is_combining_mark;

use super::encodings::ByteEncoding;

/// A stretch of characters that spell valid UTF-8, and what is around it.
#[derive(Debug)]
pub(super) struct Place<'t> {
    pub(super) encoding: ByteEncoding,
    pub(super) found: &'t [char],
    pub(super) n_sequences: usize,
    pub(super) before: Option<char>,
    pub(super) after: Option<char>,
}

/// Whether `text` is the likelier reading.
pub(super) fn is_plausible(place: &Place<'_>, text: &str) -> bool {
    if !text.chars().all(is_ordinary) {
        return false;
    }
    match place.encoding {
        ByteEncoding::Windows1252 => is_plausible_1252(place, text),
        ByteEncoding::Windows1251 => is_plausible_1251(place, text),
        ByteEncoding::MacRoman => is_plausible_mac(place, text),
    }
}

fn is_plausible_1252(place: &Place<'_>, text: &str) -> bool {
    if place.found.iter().any(|&character| character.is_control()) {
        return true;
    }
    let (Some(&first), Some(&last), Some(read)) =
        (place.found.first(), place.found.last(), text.chars().next())
    else {
        return false;
    };
    if place.n_sequences > 1 {
        return is_likely_word(text) || text.chars().any(is_sure);
    }
    match read {
        // First bytes 0xC2 and 0xC3, which stand for a capital A with an accent.
        '\u{a0}'..='\u{ff}' => !(is_running_mark(last) && ends_capitals(place)),
        // Nobody writes `â€™`, `â‰¥`, `ï¼Œ` or `ðŸ˜€`.
        _ if is_sure(read) => true,
        // First bytes 0xC4 and 0xC5.
        '\u{100}'..='\u{17f}' => is_likely_letter(place, first, last),
        _ => is_likely_syllable(place),
    }
}

/// Three bytes: a small letter, then two signs that do not stand so behind a word.
fn is_likely_syllable(place: &Place<'_>) -> bool {
    let &[_, second, third] = place.found else {
        return false;
    };
    let is_letter = |sign: char| sign.is_alphabetic() && !matches!(sign, '\u{a0}'..='\u{bf}');
    match (is_running_mark(second), is_running_mark(third)) {
        (false, false) => !(is_letter(second) && is_letter(third)),
        // A letter right behind a quotation mark: `á»Ÿ`.
        (true, false) if is_letter(third) => true,
        _ => place.after.is_some_and(char::is_lowercase),
    }
}

/// `Å¡`, `Ä™` and the like, beside a letter.
fn is_likely_letter(place: &Place<'_>, first: char, last: char) -> bool {
    let after_small = place.before.is_some_and(char::is_lowercase);
    let before_small = place.after.is_some_and(char::is_lowercase);
    if first == 'Å'
        && matches!(
            last,
            '²' | '³' | '±' | '·' | '°' | '´' | '\u{a0}' | '–' | '—'
        )
    {
        // The ångström.
        return after_small && before_small;
    }
    let beside_letter = before_small || place.before.is_some_and(char::is_alphabetic);
    // A closing mark has no small letter right behind it.
    let is_closed = before_small && matches!(last, '›' | '»' | '”' | '…' | '•' | '™' | '®' | '©');
    after_small || is_closed || (beside_letter && !last.is_alphabetic() && !is_running_mark(last))
}

/// Whether capitals, or a quotation in capitals, end here: `ROMÃ»`.
fn ends_capitals(place: &Place<'_>) -> bool {
    place.before.is_some_and(char::is_uppercase) && !place.after.is_some_and(char::is_lowercase)
}

fn is_plausible_1251(place: &Place<'_>, text: &str) -> bool {
    let is_cyrillic = |character| matches!(character, '\u{400}'..='\u{4ff}');
    if place.n_sequences >= 3 && text.chars().all(|c| is_cyrillic(c) || is_sure(c)) {
        return true;
    }
    text.chars()
        .all(|character| matches!(character, '\u{2010}'..='\u{2044}'))
}

fn is_plausible_mac(place: &Place<'_>, text: &str) -> bool {
    if text
        .chars()
        .all(|character| matches!(character, '\u{2010}'..='\u{2044}'))
    {
        return true;
    }
    let before = place
        .before
        .is_some_and(|character| character.is_ascii_lowercase());
    let after = place
        .after
        .is_some_and(|character| character.is_ascii_lowercase());
    let is_formula = place.found.iter().any(|sign| "π∂∫Ω∑∏≤≥≠∞".contains(*sign));
    let is_word = text == "à";
    let beside_letter = if is_formula {
        before && after
    } else {
        before || after
    };
    (is_word || beside_letter)
        && text
            .chars()
            .all(|character| matches!(character, '\u{c0}'..='\u{ff}'))
}

/// Characters that mojibake of one sequence stands for beyond doubt: punctuation, arrows and signs above
/// U+2010, wide forms, emoji, the byte order mark.
fn is_sure(character: char) -> bool {
    matches!(character,
        '\u{2010}'..='\u{2bff}' | '\u{3000}'..='\u{303f}' | '\u{feff}' | '\u{fe0f}'
        | '\u{ff01}'..='\u{ff60}' | '\u{1f000}'..='\u{1faff}' | '\u{200b}'..='\u{200f}')
}

/// Whether all characters are letters, digits, marks or punctuation, with letters among them.
fn is_likely_word(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

/// Marks that stand beside letters in good text.
fn is_running_mark(character: char) -> bool {
    matches!(
        character,
        '\u{a0}'
            | '«'
            | '»'
            | '·'
            | '´'
            | '–'
            | '—'
            | '‘'
            | '’'
            | '‚'
            | '“'
            | '”'
            | '„'
            | '…'
            | '•'
            | '‹'
            | '›'
            | '™'
            | '®'
            | '©'
    )
}

/// Whether a character is one that texts are made of.
pub(super) fn is_ordinary(character: char) -> bool {
    character.is_alphanumeric()
        || is_combining_mark(character)
        || is_sure(character)
        || matches!(character, '\u{a0}'..='\u{bf}' | '×' | '÷' | '\u{2b0}'..='\u{2ff}' | '\u{600}'..='\u{6ff}')
}
