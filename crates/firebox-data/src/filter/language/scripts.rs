//! Which script a text is mainly in, and what that says of its language.

use super::super::characters::{is_han, is_kana};

/// A script, with the language if it has only one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// The script of one language, by its code.
    Of(&'static str),
    /// A script of several languages.
    Shared(Shared),
    /// Arabic script with letters that Persian has and Arabic has not.
    Persian,
}

/// Scripts of several languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    Latin,
    Cyrillic,
    Arabic,
    Devanagari,
}

/// A Chinese character or syllable says as much as so many letters.
const LETTERS_A_SYLLABLE: usize = 3;

/// Japanese has at least one kana among so many Chinese characters and kana.
const LEAST_KANA: usize = 12;

/// Scripts of one language each, by their blocks.
const BLOCKS: [(u32, u32, &str); 19] = [
    (0x0370, 0x03ff, "el"),
    (0x0530, 0x058f, "hy"),
    (0x0590, 0x05ff, "he"),
    (0x0980, 0x09ff, "bn"),
    (0x0a00, 0x0a7f, "pa"),
    (0x0a80, 0x0aff, "gu"),
    (0x0b80, 0x0bff, "ta"),
    (0x0c00, 0x0c7f, "te"),
    (0x0c80, 0x0cff, "kn"),
    (0x0d00, 0x0d7f, "ml"),
    (0x0d80, 0x0dff, "si"),
    (0x0e00, 0x0e7f, "th"),
    (0x0e80, 0x0eff, "lo"),
    (0x0f00, 0x0fff, "bo"),
    (0x1000, 0x109f, "my"),
    (0x10a0, 0x10ff, "ka"),
    (0x1200, 0x137f, "am"),
    (0x1780, 0x17ff, "km"),
    (0x1f00, 0x1fff, "el"),
];

/// The script that most of the text's letters are in; none without letters.
pub(super) fn main_script(text: &str) -> Option<Script> {
    let counts = Counts::of(text);
    let east_asian = (counts.n_han + counts.n_kana) * LETTERS_A_SYLLABLE;
    let (n_block, block) = counts.main_block();
    let scripts = [
        (counts.n_latin, Script::Shared(Shared::Latin)),
        (counts.n_cyrillic, Script::Shared(Shared::Cyrillic)),
        (counts.n_devanagari, Script::Shared(Shared::Devanagari)),
        (counts.n_arabic, counts.arabic_or_persian()),
        (east_asian, counts.chinese_or_japanese()),
        (counts.n_hangul * LETTERS_A_SYLLABLE, Script::Of("ko")),
        (n_block, Script::Of(block)),
    ];
    let mut best = scripts[0];
    for script in scripts {
        if script.0 > best.0 {
            best = script;
        }
    }
    (best.0 > 0).then_some(best.1)
}

/// Letters by script.
#[derive(Debug, Default)]
struct Counts {
    n_latin: usize,
    n_cyrillic: usize,
    n_devanagari: usize,
    n_arabic: usize,
    n_persian: usize,
    n_han: usize,
    n_kana: usize,
    n_hangul: usize,
    blocks: [usize; BLOCKS.len()],
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self::default();
        for character in text.chars() {
            counts.add(character);
        }
        counts
    }

    fn add(&mut self, character: char) {
        match character {
            'a'..='z' | 'A'..='Z' => self.n_latin += 1,
            '\0'..='\u{bf}' => {}
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {
                self.n_latin += usize::from(character.is_alphabetic());
            }
            '\u{400}'..='\u{52f}' => self.n_cyrillic += 1,
            '\u{600}'..='\u{6ff}' => {
                self.n_arabic += 1;
                self.n_persian +=
                    usize::from(matches!(character, 'پ' | 'چ' | 'ژ' | 'گ' | 'ک' | 'ی'));
            }
            '\u{900}'..='\u{97f}' => self.n_devanagari += 1,
            '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}' => self.n_hangul += 1,
            _ if is_kana(character) => self.n_kana += 1,
            _ if is_han(character) => self.n_han += 1,
            _ => self.add_to_block(u32::from(character)),
        }
    }

    fn add_to_block(&mut self, code: u32) {
        let after = BLOCKS.partition_point(|&(first, ..)| first <= code);
        if after > 0 && code <= BLOCKS[after - 1].1 {
            self.blocks[after - 1] += 1;
        }
    }

    fn main_block(&self) -> (usize, &'static str) {
        let largest = self
            .blocks
            .iter()
            .zip(BLOCKS)
            .max_by_key(|(n_letters, _)| **n_letters);
        largest.map_or((0, "el"), |(&n_letters, (.., code))| (n_letters, code))
    }

    fn chinese_or_japanese(&self) -> Script {
        let is_japanese = self.n_kana * LEAST_KANA > self.n_han + self.n_kana;
        Script::Of(if is_japanese { "ja" } else { "zh" })
    }

    fn arabic_or_persian(&self) -> Script {
        if self.n_persian * 20 > self.n_arabic {
            Script::Persian
        } else {
            Script::Shared(Shared::Arabic)
        }
    }
}
