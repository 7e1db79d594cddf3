//! Panels of ggml's Q4_K and Q5_K, re-ordered.
//!
//! A super-block holds 256 inputs of `2 * LANES` neighbouring outputs: eight blocks of 32 inputs,
//! each of them the codes as [`code_planes`](super::code_planes) has them, a byte of scale and a byte
//! of minimum for each output; then for each output f16 `d` and f16 `-dmin`. Products of 6 and 11
//! bits are exact in f32, so the weights are those of the file.

#![expect(unsafe_code, reason = "scales are loaded through pointers")]

use half::f16;

use crate::packed::{Groups, K_BLOCK_SIZE, nibble};

use super::activations::BLOCK;
use super::int_panel::{IntCodes, Scales, load_two_f16};
use super::pack::{Place, put};
use super::simd::Simd;

/// Blocks of a super-block.
const BLOCKS: usize = K_BLOCK_SIZE / BLOCK;

/// Codes of 4 or 5 bits, and scales and minimums in two steps.
pub(crate) struct KBlocks<const BITS: usize>;

/// Q4_K.
pub(crate) type Q4K = KBlocks<4>;
/// Q5_K.
pub(crate) type Q5K = KBlocks<5>;

impl<const BITS: usize> KBlocks<BITS> {
    /// Bytes of one output in a block: codes, scale, minimum.
    const BLOCK_BYTES: usize = Self::CODE_BYTES + 2;

    /// Bytes of one output in a super-block.
    const SUPER_BLOCK_BYTES: usize = BLOCKS * Self::BLOCK_BYTES + 4;

    /// Bytes of a super-block in a file: head, fifth bits, nibbles.
    const FILE_BYTES: usize = Groups::HEAD_BYTES + K_BLOCK_SIZE * BITS / 8;

    /// Where `d` lies in a panel `width` wide, for the super-block that `block` is in.
    #[inline(always)]
    fn d_at(block: usize, width: usize) -> usize {
        width * (block / BLOCKS * Self::SUPER_BLOCK_BYTES + BLOCKS * Self::BLOCK_BYTES)
    }
}

impl<const BITS: usize> IntCodes for KBlocks<BITS> {
    const BITS: usize = BITS;
    const HAS_MINIMUM: bool = true;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        0
    }

    #[inline(always)]
    fn block_at(block: usize, lanes: usize) -> usize {
        let blocks = block % BLOCKS * Self::BLOCK_BYTES;
        2 * lanes * (block / BLOCKS * Self::SUPER_BLOCK_BYTES + blocks)
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, panel: *const u8, block: usize, _: usize) -> Scales<S> {
        let width = 2 * S::LANES;
        // SAFETY: a super-block has them at these places, and the block is in one, says the caller.
        unsafe {
            let steps = panel.add(Self::block_at(block, S::LANES) + width * Self::CODE_BYTES);
            let d = panel.add(Self::d_at(block, width)).cast::<u16>();
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
    /// Lays out a row of Q4_K or Q5_K blocks.
    pub(super) fn k_blocks<const BITS: usize>(&self, row: &[u8], panel: &mut [u8]) {
        let (width, lane, code_bytes) = (self.width, self.lane, KBlocks::<BITS>::CODE_BYTES);
        let super_blocks = row.chunks_exact(KBlocks::<BITS>::FILE_BYTES);
        for (i, super_block) in super_blocks.enumerate() {
            let (head, codes) = super_block.split_at(Groups::HEAD_BYTES);
            // Bit `g` of byte `j` belongs to input `j` of group `g`.
            let (fifth, codes) = codes.split_at((BITS - 4) * BLOCK);
            let groups = Groups::read(head);
            for g in 0..BLOCKS {
                let code = |j: usize| match fifth.get(j) {
                    Some(bits) => nibble(codes, g, j) | (bits >> g & 1) << 4,
                    None => nibble(codes, g, j),
                };
                let block = &mut panel[KBlocks::<BITS>::block_at(i * BLOCKS + g, width / 2)..];
                self.put_codes::<KBlocks<BITS>>(block, &std::array::from_fn(code));
                let steps = width * code_bytes + lane;
                block[steps] = groups.scales[g];
                block[steps + width] = groups.minimums[g];
            }
            let d = KBlocks::<BITS>::d_at(i * BLOCKS, width) + 2 * lane;
            put(panel, d, groups.d.to_le_bytes());
            put(panel, d + 2 * width, (-groups.dmin).to_le_bytes());
        }
    }

    /// The weight of input `k`.
    pub(super) fn k_weight<const BITS: usize>(&self, panel: &[u8], k: usize) -> f32 {
        let (width, lane, block) = (self.width, self.lane, k / BLOCK);
        let half = |at: usize| f16::from_le_bytes([panel[at], panel[at + 1]]).to_f32();
        let codes = &panel[KBlocks::<BITS>::block_at(block, width / 2)..];
        let steps = width * KBlocks::<BITS>::CODE_BYTES + lane;
        let d = KBlocks::<BITS>::d_at(block, width) + 2 * lane;
        let scale = half(d) * f32::from(codes[steps]);
        let minimum = half(d + 2 * width) * f32::from(codes[steps + width]);
        scale * f32::from(self.code::<KBlocks<BITS>>(codes, k)) + minimum
    }
}
