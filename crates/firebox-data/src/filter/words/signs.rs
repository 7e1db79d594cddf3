//! Signs, units and abbreviations that words are cut at, or are not.
//!
//! Source: spaCy 3, `spacy/lang/punctuation.py`, `char_classes.py` and `tokenizer_exceptions.py`.

/// Words that keep their full stop.
pub(super) const ABBREVIATIONS: [&str; 27] = [
    "e.g.", "i.e.", "E.g.", "I.e.", "a.m.", "p.m.", "Dr.", "Mr.", "Mrs.", "Ms.", "Prof.", "St.",
    "Jr.", "Sr.", "vs.", "v.s.", "Inc.", "Ltd.", "Co.", "Corp.", "Jan.", "Feb.", "Aug.", "Sept.",
    "Oct.", "Nov.", "Dec.",
];

/// Units that are cut from the number before them; longer ones first.
pub(super) const UNITS: [&str; 46] = [
    "km/h", "km²", "km³", "dm²", "dm³", "cm²", "cm³", "mm²", "mm³", "mbar", "mph", "hPa", "m/s",
    "m²", "m³", "km", "dm", "cm", "mm", "µm", "nm", "ha", "in", "ft", "yd", "kg", "mg", "µg", "lb",
    "oz", "Pa", "mb", "MB", "kb", "KB", "gb", "GB", "tb", "TB", "g", "m", "t", "T", "G", "M", "K",
];

/// Endings that are words of their own after a letter.
pub(super) const CLITICS: [&str; 16] = [
    "'S", "’S", "n't", "n’t", "'re", "’re", "'ve", "’ve", "'ll", "’ll", "'s", "’s", "'d", "’d",
    "'m", "’m",
];

/// The ASCII part of [`is_mark`], a bit for each character.
const ASCII_MARKS: u128 = {
    let marks = b",!?;:()[]{}<>_#*&";
    let mut bits = 0;
    let mut at = 0;
    while at < marks.len() {
        bits |= 1 << marks[at];
        at += 1;
    }
    bits
};

/// Punctuation that is a word of its own before or behind a word.
pub(super) fn is_mark(character: char) -> bool {
    match u32::from(character) {
        code @ 0..128 => (ASCII_MARKS >> code) & 1 == 1,
        _ => "。？！，、；：～·।،۔؛٪".contains(character),
    }
}

/// Quotation marks, and brackets of East Asian scripts.
pub(super) fn is_quote(character: char) -> bool {
    match character {
        '\0'..='\u{7f}' => matches!(character, '\'' | '"' | '`'),
        _ => "”“‘´’‚„»«「」『』（）〔〕【】《》〈〉".contains(character),
    }
}

/// Signs of currencies.
pub(super) fn is_currency(character: char) -> bool {
    match character {
        '\0'..='\u{7f}' => character == '$',
        _ => "£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵".contains(character),
    }
}

/// Symbols of Unicode's class So that stand in running text: arrows, shapes, emoji, the degree sign.
pub(super) fn is_icon(character: char) -> bool {
    match character {
        '\0'..='\u{a5}' => false,
        '\u{2190}'..='\u{23ff}' | '\u{2500}'..='\u{27bf}' => !is_operator(character),
        '\u{1f000}'..='\u{1faff}' => true,
        _ => "¦©®°™℃№".contains(character),
    }
}

/// Signs of mathematics among the symbols, which are of class Sm.
fn is_operator(character: char) -> bool {
    matches!(character,
        '\u{2190}'..='\u{2194}' | '\u{21d2}' | '\u{21d4}' | '\u{2200}'..='\u{22ff}' | '\u{25b7}'
        | '\u{25c1}' | '\u{25f8}'..='\u{25ff}' | '\u{266f}' | '\u{27c0}'..)
}
