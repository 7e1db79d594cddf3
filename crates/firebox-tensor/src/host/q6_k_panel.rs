//! Panels of ggml's Q6_K, re-ordered.
//!
//! A super-block holds 256 inputs of `2 * LANES` neighbouring outputs: eight blocks of 32 inputs,
//! each of them the codes as [`code_planes`](super::code_planes) has them, with halves apart, then for
//! each half a signed byte of scale for each output; behind the blocks an f16 `d` for each output.
//! Products of 8 and 11 bits are exact in f32, so the weights are those of the file.

#![expect(unsafe_code, reason = "scales are loaded through pointers")]

use half::f16;

use crate::packed::{K_BLOCK_SIZE, Q6_K_BLOCK_BYTES, Q6KBlock};

use super::activations::BLOCK;
use super::int_panel::{IntCodes, Scales, load_two_f16};
use super::pack::{Place, put};
use super::simd::Simd;

/// Blocks of a super-block.
const BLOCKS: usize = K_BLOCK_SIZE / BLOCK;

/// Bytes of one output in a block: codes, and a scale for each half.
const BLOCK_BYTES: usize = Q6K::CODE_BYTES + Q6K::SPANS;

/// Bytes of one output in a super-block.
const SUPER_BLOCK_BYTES: usize = BLOCKS * BLOCK_BYTES + 2;

/// What a code is too large by.
const BIAS: u8 = 32;

/// Codes of 6 bits around zero, and scales of 16 inputs in two steps.
pub(crate) struct Q6K;

/// Where `d` lies in a panel `width` wide, for the super-block that `block` is in.
#[inline(always)]
fn d_at(block: usize, width: usize) -> usize {
    width * (block / BLOCKS * SUPER_BLOCK_BYTES + BLOCKS * BLOCK_BYTES)
}

impl IntCodes for Q6K {
    const BITS: usize = 6;
    const HAS_MINIMUM: bool = false;
    const SPANS: usize = 2;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        i32::from(BIAS)
    }

    #[inline(always)]
    fn block_at(block: usize, lanes: usize) -> usize {
        2 * lanes * (block / BLOCKS * SUPER_BLOCK_BYTES + block % BLOCKS * BLOCK_BYTES)
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, panel: *const u8, block: usize, span: usize) -> Scales<S> {
        let width = 2 * S::LANES;
        // SAFETY: a super-block has them at these places, and the block is in one, says the caller.
        unsafe {
            let steps = Self::block_at(block, S::LANES) + width * (Self::CODE_BYTES + span);
            let steps = panel.add(steps).cast::<i8>();
            let d = load_two_f16(s, panel.add(d_at(block, width)).cast());
            Scales {
                scales: [
                    s.mul(s.load_i8(steps), d[0]),
                    s.mul(s.load_i8(steps.add(S::LANES)), d[1]),
                ],
                minimums: [s.splat(0.0); 2],
            }
        }
    }
}

impl Place {
    /// Lays out a row of Q6_K blocks.
    pub(super) fn q6_k(&self, row: &[u8], panel: &mut [u8]) {
        let (width, lane) = (self.width, self.lane);
        for (i, block) in row.as_chunks::<Q6_K_BLOCK_BYTES>().0.iter().enumerate() {
            let from = Q6KBlock::new(block);
            for g in 0..BLOCKS {
                let block = &mut panel[Q6K::block_at(i * BLOCKS + g, width / 2)..];
                let codes = std::array::from_fn(|j| from.code(g * BLOCK + j));
                self.put_codes::<Q6K>(block, &codes);
                for span in 0..Q6K::SPANS {
                    let scale = from.scales[g * Q6K::SPANS + span];
                    block[width * (Q6K::CODE_BYTES + span) + lane] = scale;
                }
            }
            put(
                panel,
                d_at(i * BLOCKS, width) + 2 * lane,
                from.d.to_le_bytes(),
            );
        }
    }

    /// The weight of input `k`.
    pub(super) fn q6_k_weight(&self, panel: &[u8], k: usize) -> f32 {
        let (width, lane, block) = (self.width, self.lane, k / BLOCK);
        let span = k % BLOCK / (BLOCK / Q6K::SPANS);
        let codes = &panel[Q6K::block_at(block, width / 2)..];
        let step = codes[width * (Q6K::CODE_BYTES + span) + lane].cast_signed();
        let d = d_at(block, width) + 2 * lane;
        let d = f16::from_le_bytes([panel[d], panel[d + 1]]).to_f32();
        let code = f32::from(self.code::<Q6K>(codes, k)) - f32::from(BIAS);
        d * f32::from(step) * code
    }
}
