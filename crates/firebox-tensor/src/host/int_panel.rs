//! Panels whose weights stay integers: ggml's Q8_0, Q4_0 and Q4_1, re-ordered.
//!
//! A block holds 32 inputs of `2 * LANES` neighbouring outputs: the codes, four inputs of one
//! output in the four bytes of a lane, then an f16 scale for each output, and for Q4_1 an f16
//! minimum. INT4 in groups has a zero point there. Of Q4_K, see [`k_panel`](super::k_panel).

#![expect(unsafe_code, reason = "scales are loaded through pointers")]

use super::activations::BLOCK;
use super::simd::Simd;

/// Groups of four inputs in a block.
pub(crate) const GROUPS: usize = BLOCK / 4;

/// How a block's codes are stored. (No closures: one that is not inlined would be compiled without
/// the level's instructions.)
pub(crate) trait IntCodes: Sync {
    /// Whether the weights have minimums.
    const HAS_MINIMUM: bool;
    /// Bytes of the codes of one output.
    const CODE_BYTES: usize;
    /// Groups that share their bytes: part `p` of load `i` is group `i + p * GROUPS / PARTS`.
    const PARTS: usize;

    /// What the codes are too large by.
    fn bias<S: Simd>() -> i32;

    /// The codes of one part of two loaded vectors.
    fn part<S: Simd>(s: S, loaded: [S::B; 2], part: usize) -> [S::B; 2];

    /// One lane's dot product.
    fn dot<S: Simd>(s: S, sum: S::I, codes: S::B, x: i32) -> S::I;

    /// Where a block begins in its panel, and so how long a panel of that many blocks is.
    #[inline(always)]
    fn block_at(block: usize, lanes: usize) -> usize {
        let scale_bytes = if Self::HAS_MINIMUM { 4 } else { 2 };
        block * 2 * lanes * (Self::CODE_BYTES + scale_bytes)
    }

    /// The scales of a block, and where it has them its minimums.
    ///
    /// # Safety
    /// The panel has such a block.
    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, panel: *const u8, block: usize) -> Scales<S> {
        // SAFETY: the scales follow the codes, and the minimums the scales.
        unsafe {
            let codes = panel.add(Self::block_at(block, S::LANES));
            let scales = codes.add(2 * S::LANES * Self::CODE_BYTES).cast::<u16>();
            let minimums = match Self::HAS_MINIMUM {
                true => load_two_f16(s, scales.add(2 * S::LANES)),
                false => [s.splat(0.0); 2],
            };
            Scales {
                scales: load_two_f16(s, scales),
                minimums,
            }
        }
    }
}

/// Of one block and the outputs of a panel: `w = scale * (code - bias) + minimum`.
pub(crate) struct Scales<S: Simd> {
    pub(crate) scales: [S::F; 2],
    pub(crate) minimums: [S::F; 2],
}

/// # Safety
/// The pointer is good for two vectors' f16.
#[inline(always)]
pub(crate) unsafe fn load_two_f16<S: Simd>(s: S, from: *const u16) -> [S::F; 2] {
    // SAFETY: says the caller.
    unsafe { [s.load_f16(from), s.load_f16(from.add(S::LANES))] }
}

/// 32 signed bytes: `[group, 2, LANES, 4]`.
pub(crate) struct Q8;

impl IntCodes for Q8 {
    const HAS_MINIMUM: bool = false;
    const CODE_BYTES: usize = BLOCK;
    const PARTS: usize = 1;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        i32::from(S::BYTE_BIAS)
    }

    #[inline(always)]
    fn part<S: Simd>(_: S, loaded: [S::B; 2], _: usize) -> [S::B; 2] {
        loaded
    }

    #[inline(always)]
    fn dot<S: Simd>(s: S, sum: S::I, codes: S::B, x: i32) -> S::I {
        s.dot4(sum, codes, x)
    }
}

/// 32 nibbles: `[4, 2, LANES, 4]` bytes whose low nibbles are groups 0 to 3 and whose high nibbles
/// are groups 4 to 7.
pub(crate) struct Q4<const MINIMUM: bool>;

impl<const MINIMUM: bool> IntCodes for Q4<MINIMUM> {
    const HAS_MINIMUM: bool = MINIMUM;
    const CODE_BYTES: usize = BLOCK / 2;
    const PARTS: usize = 2;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        // Q4_0 stores 0 to 15 for -8 to 7.
        if MINIMUM { 0 } else { 8 }
    }

    #[inline(always)]
    fn part<S: Simd>(s: S, loaded: [S::B; 2], part: usize) -> [S::B; 2] {
        match part {
            0 => [s.low_nibbles(loaded[0]), s.low_nibbles(loaded[1])],
            _ => [s.high_nibbles(loaded[0]), s.high_nibbles(loaded[1])],
        }
    }

    #[inline(always)]
    fn dot<S: Simd>(s: S, sum: S::I, codes: S::B, x: i32) -> S::I {
        s.dot4_nibbles(sum, codes, x)
    }
}

/// As [`Q4`] with minimums, but in their place zero points, as f16: `w = scale * (code - zero)`. A
/// group of 64 or 128 gives its scale and zero point to each of its blocks.
pub(crate) struct Int4;

impl IntCodes for Int4 {
    const HAS_MINIMUM: bool = true;
    const CODE_BYTES: usize = BLOCK / 2;
    const PARTS: usize = 2;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        0
    }

    #[inline(always)]
    fn part<S: Simd>(s: S, loaded: [S::B; 2], part: usize) -> [S::B; 2] {
        Q4::<true>::part(s, loaded, part)
    }

    #[inline(always)]
    fn dot<S: Simd>(s: S, sum: S::I, codes: S::B, x: i32) -> S::I {
        s.dot4_nibbles(sum, codes, x)
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, panel: *const u8, block: usize) -> Scales<S> {
        // SAFETY: zero points lie where minimums would.
        let Scales { scales, minimums } = unsafe { Q4::<true>::scales(s, panel, block) };
        let minimum = |i: usize| s.sub(s.splat(0.0), s.mul(scales[i], minimums[i]));
        Scales {
            scales,
            minimums: [minimum(0), minimum(1)],
        }
    }
}
