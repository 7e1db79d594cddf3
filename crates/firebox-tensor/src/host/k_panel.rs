//! Panels of ggml's Q4_K, re-ordered.
//!
//! A super-block holds 256 inputs of `2 * LANES` neighbouring outputs: eight blocks of 32 inputs,
//! each of them the codes, as in [`code_planes`](super::code_planes), a byte of scale and a byte of minimum for each output; then
//! for each output f16 `d` and f16 `-dmin`. Products of 6 and 11 bits are exact in f32, so the
//! weights are those of the file.

#![expect(unsafe_code, reason = "scales are loaded through pointers")]

use half::f16;

use crate::packed::{Groups, K_BLOCK_SIZE, Q4_K_BLOCK_BYTES, nibble};

use super::activations::BLOCK;
use super::int_panel::{IntCodes, Scales, load_two_f16};
use super::pack::{Place, put};
use super::simd::Simd;

/// Blocks of a super-block.
const BLOCKS: usize = K_BLOCK_SIZE / BLOCK;

/// Bytes of one output in a block: codes, scale, minimum.
const BLOCK_BYTES: usize = BLOCK / 2 + 2;

/// Bytes of one output in a super-block.
const SUPER_BLOCK_BYTES: usize = BLOCKS * BLOCK_BYTES + 4;

/// Nibbles, and scales in two steps.
pub(crate) struct Q4K;

/// Where `d` lies in a panel `width` wide, for the super-block that `block` is in.
#[inline(always)]
fn d_at(block: usize, width: usize) -> usize {
    width * (block / BLOCKS * SUPER_BLOCK_BYTES + BLOCKS * BLOCK_BYTES)
}

impl IntCodes for Q4K {
    const BITS: usize = 4;
    const HAS_MINIMUM: bool = true;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        0
    }

    #[inline(always)]
    fn block_at(block: usize, lanes: usize) -> usize {
        2 * lanes * (block / BLOCKS * SUPER_BLOCK_BYTES + block % BLOCKS * BLOCK_BYTES)
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, panel: *const u8, block: usize) -> Scales<S> {
        let width = 2 * S::LANES;
        // SAFETY: a super-block has them at these places, and the block is in one, says the caller.
        unsafe {
            let steps = panel.add(Self::block_at(block, S::LANES) + width * Self::CODE_BYTES);
            let d = panel.add(d_at(block, width)).cast::<u16>();
            Scales {
                scales: products(s, steps, d),
                minimums: products(s, steps.add(width), d.add(width)),
            }
        }
    }
}

/// Two vectors of bytes times two of f16.
///
/// # Safety
/// The pointers are good for them.
#[inline(always)]
unsafe fn products<S: Simd>(s: S, bytes: *const u8, halves: *const u16) -> [S::F; 2] {
    // SAFETY: says the caller.
    unsafe {
        let [first, second] = load_two_f16(s, halves);
        [
            s.mul(s.to_float(s.load_u8(bytes)), first),
            s.mul(s.to_float(s.load_u8(bytes.add(S::LANES))), second),
        ]
    }
}

impl Place {
    /// Lays out a row of Q4_K blocks.
    pub(super) fn q4_k(&self, row: &[u8], panel: &mut [u8]) {
        let (width, lane) = (self.width, self.lane);
        for (i, super_block) in row.chunks_exact(Q4_K_BLOCK_BYTES).enumerate() {
            let (head, codes) = super_block.split_at(Groups::HEAD_BYTES);
            let groups = Groups::read(head);
            for g in 0..BLOCKS {
                let block = &mut panel[Q4K::block_at(i * BLOCKS + g, width / 2)..];
                self.put_codes::<Q4K>(block, &std::array::from_fn(|j| nibble(codes, g, j)));
                let steps = width * Q4K::CODE_BYTES + lane;
                block[steps] = groups.scales[g];
                block[steps + width] = groups.minimums[g];
            }
            let d = d_at(i * BLOCKS, width) + 2 * lane;
            put(panel, d, groups.d.to_le_bytes());
            put(panel, d + 2 * width, (-groups.dmin).to_le_bytes());
        }
    }

    /// The weight of input `k`.
    pub(super) fn q4_k_weight(&self, panel: &[u8], k: usize) -> f32 {
        let (width, lane, block) = (self.width, self.lane, k / BLOCK);
        let half = |at: usize| f16::from_le_bytes([panel[at], panel[at + 1]]).to_f32();
        let codes = &panel[Q4K::block_at(block, width / 2)..];
        let steps = width * Q4K::CODE_BYTES + lane;
        let d = d_at(block, width) + 2 * lane;
        let scale = half(d) * f32::from(codes[steps]);
        let minimum = half(d + 2 * width) * f32::from(codes[steps + width]);
        scale * f32::from(self.code::<Q4K>(codes, k)) + minimum
    }
}

#[cfg(test)]
mod tests;
