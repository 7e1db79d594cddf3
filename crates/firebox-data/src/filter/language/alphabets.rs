//! Letters that a language has, to tell when a text is in none of those that are known.

use super::scripts::Shared;

/// Letters outside ASCII that texts in each language have, loan words included; small letters.
const ALPHABETS: [(&str, &str); 11] = [
    ("de", "äöüßéèàâêç"),
    ("en", "éèêëàâäáçïîíñóôöüāī"),
    ("es", "áéíóúüñ"),
    ("fr", "àâæçéèêëîïôœùûüÿäö"),
    ("it", "àèéìíîòóùú"),
    ("nl", "ëïéèêöüáóçà"),
    ("pt", "ãáâàçéêíóôõúü"),
    ("sv", "åäöéüà"),
    ("tr", "çğıöşüâîûi̇"),
    ("ru", "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"),
    ("vi", "ăâđêôơưàáãèéìíòóõùúýĩũ"),
];

/// One letter in so many may be strange to the language: part of a name.
const LETTERS_PER_FOREIGN: usize = 33;

/// Whether the letters of a text speak for `code`, or at least not against it: at most 3 % of them
/// are strange to it.
pub(super) fn fits_alphabet(text: &str, script: Shared, code: &str) -> bool {
    match (script, code) {
        (Shared::Latin, "ar" | "hi" | "ja" | "ko" | "ru" | "zh") => return false,
        (Shared::Cyrillic, _) if code != "ru" => return false,
        (Shared::Arabic, _) => return code == "ar",
        (Shared::Devanagari, _) => return code == "hi",
        (Shared::Latin | Shared::Cyrillic, _) => {}
    }
    let Some((_, letters)) = ALPHABETS.iter().find(|(known, _)| *known == code) else {
        return true;
    };
    let mut n_letters = 0;
    let mut n_foreign = 0;
    for character in text.chars().filter(|character| character.is_alphabetic()) {
        n_letters += 1;
        if !character.is_ascii() && is_of(script, character) {
            let is_vietnamese = code == "vi" && matches!(character, '\u{1ea0}'..='\u{1ef9}');
            let mut small = character.to_lowercase();
            n_foreign +=
                usize::from(!is_vietnamese && !small.any(|letter| letters.contains(letter)));
        }
    }
    n_foreign * LETTERS_PER_FOREIGN <= n_letters
}

fn is_of(script: Shared, character: char) -> bool {
    match script {
        Shared::Latin => matches!(character, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}'),
        Shared::Cyrillic => matches!(character, '\u{400}'..='\u{52f}'),
        Shared::Arabic | Shared::Devanagari => false,
    }
}
