//! Which language a text is in.

use whichlang::{Lang, detect_language};

use super::alphabets::fits_alphabet;
use super::scripts::{Script, main_script};

/// The ISO 639-1 codes of the languages that are told apart.
pub const LANGUAGES: [&str; 35] = [
    "am", "ar", "bn", "bo", "de", "el", "en", "es", "fa", "fr", "gu", "he", "hi", "hy", "it", "ja",
    "ka", "km", "kn", "ko", "lo", "ml", "my", "nl", "pa", "pt", "ru", "si", "sv", "ta", "te", "th",
    "tr", "vi", "zh",
];

/// The code of a language that is none of [`LANGUAGES`], or of a text without letters.
const UNDETERMINED: &str = "und";

/// How many windows of a long text are looked at.
const MOST_WINDOWS: usize = 3;

/// How long a window is.
const WINDOW_BYTES: usize = 120;

/// A text's language.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Language {
    /// Its ISO 639-1 code out of [`LANGUAGES`], or `und`.
    pub code: &'static str,
    /// The share of the windows that are in it, from 0 to 1.
    pub share: f64,
}

/// Finds a text's language; see [`LanguageRule`](super::LanguageRule) for how.
#[must_use]
pub fn identify_language(text: &str) -> Language {
    identify(text)
}

pub(super) fn identify(text: &str) -> Language {
    let mut votes: Vec<(&'static str, usize)> = Vec::with_capacity(MOST_WINDOWS);
    let mut n_windows = 0;
    for window in windows(text) {
        let code = language_of(window);
        n_windows += 1;
        match votes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, n_votes)) => *n_votes += 1,
            None => votes.push((code, 1)),
        }
    }
    // Of several with equal votes, the one that came first.
    let mut best = (UNDETERMINED, 0);
    for vote in votes {
        if vote.1 > best.1 {
            best = vote;
        }
    }
    Language {
        code: best.0,
        share: super::super::finding::ratio(best.1, n_windows),
    }
}

/// Windows spread evenly over the text, cut at characters; the whole of a short text.
fn windows(text: &str) -> impl Iterator<Item = &str> {
    let n_windows = (text.len() / WINDOW_BYTES).clamp(1, MOST_WINDOWS);
    let stride_bytes = text.len() / n_windows;
    (0..n_windows).map(move |index| {
        let start = text.ceil_char_boundary(index * stride_bytes);
        let end = match n_windows {
            1 => text.len(),
            _ => text.ceil_char_boundary(start + WINDOW_BYTES),
        };
        whole_words(text, start, end)
    })
}

/// The window without a word cut off at its start.
fn whole_words(text: &str, start: usize, end: usize) -> &str {
    let window = &text[start..end];
    if start == 0 {
        return window;
    }
    match window.find(' ') {
        Some(at) if at < WINDOW_BYTES / 4 => &window[at..],
        _ => window,
    }
}

fn language_of(window: &str) -> &'static str {
    match main_script(window) {
        None => UNDETERMINED,
        Some(Script::Of(code)) => code,
        Some(Script::Shared(script)) => {
            let code = code_of(detect_language(window));
            if fits_alphabet(window, script, code) {
                code
            } else {
                UNDETERMINED
            }
        }
        Some(Script::Persian) => "fa",
    }
}

fn code_of(language: Lang) -> &'static str {
    match language {
        Lang::Ara => "ar",
        Lang::Cmn => "zh",
        Lang::Deu => "de",
        Lang::Eng => "en",
        Lang::Fra => "fr",
        Lang::Hin => "hi",
        Lang::Ita => "it",
        Lang::Jpn => "ja",
        Lang::Kor => "ko",
        Lang::Nld => "nl",
        Lang::Por => "pt",
        Lang::Rus => "ru",
        Lang::Spa => "es",
        Lang::Swe => "sv",
        Lang::Tur => "tr",
        Lang::Vie => "vi",
    }
}
