//! Places within a word where no merge can ever reach across.
//!
//! Every token of more than one symbol comes from merges, and holds side by side what stood side by
//! side in the text. Where the two characters around a place are side by side in no such token, no
//! merge crosses it: the parts can be encoded one by one, and short parts are found in the cache far
//! more often than long words. A run of Chinese characters is one word to the split patterns.

use super::char_class::decode;

/// Bits of the set of pairs of characters; two pairs may share one, which costs a cut, not a token.
const N_PAIR_BITS: u32 = 20;

/// Pairs of neighbours that some token holds.
#[derive(Debug)]
pub(super) struct SafeCuts {
    /// Whole characters side by side, by hash.
    chars: Vec<u64>,
    /// The last byte of one character and the first of the next, where a token holds a part of one.
    bytes: Vec<u64>,
}

impl SafeCuts {
    pub(super) fn new() -> Self {
        Self {
            chars: vec![0; 1 << (N_PAIR_BITS - 6)],
            bytes: vec![0; (1 << 16) / 64],
        }
    }

    /// Notes what stands side by side in a token, which may start and end within a character.
    pub(super) fn add_token(&mut self, token: &[u8]) {
        for at in (1..token.len()).filter(|&at| !is_continuation(token[at])) {
            match (char_before(token, at), char_after(token, at)) {
                (Some(left), Some(right)) => set(&mut self.chars, char_bit(left, right)),
                _ => set(&mut self.bytes, byte_bit(token[at - 1], token[at])),
            }
        }
    }

    /// Forbids cuts beside a byte: it has no symbol, so that its neighbours become neighbours.
    pub(super) fn forbid_beside(&mut self, byte: u8) {
        for other in 0..=u8::MAX {
            set(&mut self.bytes, byte_bit(byte, other));
            set(&mut self.bytes, byte_bit(other, byte));
        }
    }

    /// Calls `visit` with the start and end of every part of `text[start..end]`, characters of a `str`.
    #[inline]
    pub(super) fn for_each_part(
        &self,
        text: &[u8],
        start: usize,
        end: usize,
        mut visit: impl FnMut(usize, usize),
    ) {
        let (mut left, n_bytes) = decode(text, start);
        let (mut part_start, mut position) = (start, start + n_bytes);
        while position < end {
            let (right, n_bytes) = decode(text, position);
            let is_joined = is_set(&self.chars, char_bit(left, right))
                || is_set(&self.bytes, byte_bit(text[position - 1], text[position]));
            if !is_joined {
                visit(part_start, position);
                part_start = position;
            }
            left = right;
            position += n_bytes;
        }
        visit(part_start, end);
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// The character that ends at `at`, if the token holds all of it.
fn char_before(token: &[u8], at: usize) -> Option<u32> {
    let first = token[..at]
        .iter()
        .rposition(|&byte| !is_continuation(byte))?;
    char_after(&token[..at], first)
}

/// The character that starts at `at`, if the token holds all of it.
fn char_after(token: &[u8], at: usize) -> Option<u32> {
    let n_bytes = match token[at] {
        0..0x80 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..=0xff => 4,
        _ => return None,
    };
    let bytes = token.get(at..at + n_bytes)?;
    let is_whole = bytes[1..].iter().all(|&byte| is_continuation(byte));
    is_whole.then(|| decode(bytes, 0).0)
}

#[inline]
fn char_bit(left: u32, right: u32) -> usize {
    let mixed = (u64::from(left) << 32 | u64::from(right)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - N_PAIR_BITS)) as usize
}

#[inline]
fn byte_bit(left: u8, right: u8) -> usize {
    (left as usize) << 8 | right as usize
}

#[inline]
fn is_set(bits: &[u64], bit: usize) -> bool {
    bits[bit / 64] >> (bit % 64) & 1 == 1
}

fn set(bits: &mut [u64], bit: usize) {
    bits[bit / 64] |= 1 << (bit % 64);
}
