//! Panels of ggml's Q4_0, Q4_1, Q5_0 and Q5_1, re-ordered.
//!
//! A block holds 32 inputs of `2 * LANES` neighbouring outputs: the codes as
//! [`code_planes`](super::code_planes) has them, then an f16 scale for each output, and for Q4_1 and
//! Q5_1 an f16 minimum.

use half::f16;

use crate::packed::q5_codes;

use super::activations::BLOCK;
use super::int_panel::IntCodes;
use super::pack::{Place, put};
use super::simd::Simd;

/// Codes of 4 or 5 bits: above a minimum, or around zero.
pub(crate) struct Blocks<const BITS: usize, const MINIMUM: bool>;

/// `w = scale * (code - 8)`.
pub(crate) type Q4_0 = Blocks<4, false>;
/// `w = scale * code + minimum`.
pub(crate) type Q4_1 = Blocks<4, true>;
/// `w = scale * (code - 16)`.
pub(crate) type Q5_0 = Blocks<5, false>;
/// As [`Q4_1`].
pub(crate) type Q5_1 = Blocks<5, true>;

impl<const BITS: usize, const MINIMUM: bool> Blocks<BITS, MINIMUM> {
    /// What codes around zero are too large by.
    const BIAS: i32 = if MINIMUM { 0 } else { 1 << (BITS - 1) };
}

impl<const BITS: usize, const MINIMUM: bool> IntCodes for Blocks<BITS, MINIMUM> {
    const BITS: usize = BITS;
    const HAS_MINIMUM: bool = MINIMUM;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        Self::BIAS
    }
}

/// The codes of a block in a file: byte `i` of the nibbles holds inputs `i` and `i + 16`, and fifth
/// bits lie before them.
fn file_codes<const BITS: usize>(bytes: &[u8]) -> [u8; BLOCK] {
    match BITS {
        4 => std::array::from_fn(|i| bytes[i % 16] >> (i / 16 * 4) & 15),
        _ => q5_codes(bytes),
    }
}

impl Place {
    /// Lays out a row of blocks: scale, where there is one a minimum, codes.
    pub(super) fn blocks<const BITS: usize, const MINIMUM: bool>(
        &self,
        row: &[u8],
        panel: &mut [u8],
    ) {
        let code_bytes = Blocks::<BITS, MINIMUM>::CODE_BYTES;
        let head_bytes = if MINIMUM { 4 } else { 2 };
        let panel_bytes = Blocks::<BITS, MINIMUM>::block_at(1, self.width / 2);
        let from = row.chunks_exact(head_bytes + code_bytes);
        for (from, to) in from.zip(panel.chunks_exact_mut(panel_bytes)) {
            let (head, codes) = from.split_at(head_bytes);
            self.put_codes::<Blocks<BITS, MINIMUM>>(to, &file_codes::<BITS>(codes));
            for (i, half) in head.as_chunks::<2>().0.iter().enumerate() {
                let at = self.width * code_bytes + 2 * (i * self.width + self.lane);
                put(to, at, *half);
            }
        }
    }

    /// The weight of input `k`.
    pub(super) fn block_weight<const BITS: usize, const MINIMUM: bool>(
        &self,
        panel: &[u8],
        k: usize,
    ) -> f32 {
        let block = &panel[Blocks::<BITS, MINIMUM>::block_at(k / BLOCK, self.width / 2)..];
        let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
        let at = self.width * Blocks::<BITS, MINIMUM>::CODE_BYTES + 2 * self.lane;
        let code = f32::from(self.code::<Blocks<BITS, MINIMUM>>(block, k));
        let scaled = half(at) * (code - Blocks::<BITS, MINIMUM>::BIAS as f32);
        match MINIMUM {
            true => scaled + half(at + 2 * self.width),
            false => scaled,
        }
    }
}
