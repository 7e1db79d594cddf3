//! Texts that split patterns, normalizers and merges trip over, from a seed.

use proptest::prelude::*;

/// Pieces that random texts are put together from.
const PIECES: [&str; 62] = [
    "the",
    " the",
    " heart",
    "blood",
    "血液",
    "氧气",
    "心脏把",
    "。",
    "，",
    "a",
    "I",
    "'",
    "'s",
    "'S",
    "'t",
    "'ll",
    "'lL",
    "'re",
    "'ve",
    "'m",
    "'d",
    "'ſ",
    "’s",
    " ",
    "  ",
    "   ",
    "\n",
    "\r\n",
    "\n\n  ",
    "\t",
    "\u{a0}",
    "\u{85}",
    "\u{2028}",
    "\u{3000}",
    "\u{200b}",
    "1",
    "23",
    "456",
    "٣",
    "½",
    "²",
    "Ⅷ",
    "一",
    "é",
    "e\u{301}",
    "\u{301}",
    "ſ",
    "ß",
    "가",
    "ᄀ\u{1161}",
    "が",
    "か\u{3099}",
    "👍🏽",
    "👩‍👧",
    "❤\u{fe0f}",
    "▁",
    "<|endoftext|>",
    "<|im",
    ".",
    "--",
    "\"(",
    "𠀀",
];

/// A source of numbers that is always the same (xorshift64*).
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn char(&mut self) -> char {
        let limit = match self.below(8) {
            0..=2 => 0x80,
            3 => 0x250,
            4 => 0x3100,
            5 => 0xffff,
            6 => 0x2_0000,
            _ => 0x11_0000,
        };
        char::from_u32(self.below(limit) as u32).unwrap_or('\u{fffd}')
    }
}

/// A text of random pieces and, here and there, characters of any kind.
pub(super) fn text(numbers: &mut Numbers, n_pieces: usize) -> String {
    let mut text = String::new();
    for _ in 0..n_pieces {
        match numbers.below(6) {
            0 => text.push(numbers.char()),
            1 => {
                // A run of Han characters, as Chinese text has them.
                for _ in 0..numbers.below(12) {
                    text.extend(char::from_u32(0x4e00 + numbers.below(0x400) as u32));
                }
            }
            _ => text.push_str(PIECES[numbers.below(PIECES.len())]),
        }
    }
    text
}

/// The same for proptest, which makes a failing text short.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(PIECES.to_vec()).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[\\p{L}\\p{M}\\p{N}\\s]{0,4}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}
