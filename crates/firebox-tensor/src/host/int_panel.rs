//! Panels whose weights stay integers: what their kernel asks of them, and Q8_0 and INT4.
//!
//! A block holds 32 inputs of `2 * LANES` neighbouring outputs: the codes, four inputs of one
//! output in the four bytes of a lane, then an f16 scale for each output, and where there are
//! minimums an f16 minimum. INT4 in groups has a zero point there. Of Q4_0 and its like, see
//! [`block_panel`](super::block_panel); of Q4_K and Q5_K, [`k_panel`](super::k_panel); of Q6_K,
//! [`q6_k_panel`](super::q6_k_panel).

#![expect(unsafe_code, reason = "scales are loaded through pointers")]

use super::activations::BLOCK;
use super::block_panel::Q4_1;
use super::code_planes::group_codes;
use super::simd::Simd;

/// Groups of four inputs in a block.
pub(crate) const GROUPS: usize = BLOCK / 4;

/// How a block's codes are stored. (No closures: one that is not inlined would be compiled without
/// the level's instructions.)
pub(crate) trait IntCodes: Sync + Sized {
    /// Bits of a code: 8, or one of those of [`code_planes`](super::code_planes).
    const BITS: usize;
    /// Whether the weights have minimums.
    const HAS_MINIMUM: bool;
    /// Bytes of the codes of one output.
    const CODE_BYTES: usize = BLOCK * Self::BITS / 8;
    /// Spans of a block, 1 or 2: inputs that share a scale.
    const SPANS: usize = 1;
    /// Groups that share a load: part `p` of load `i` of a span is its group
    /// `i + p * GROUPS / SPANS / PARTS`.
    const PARTS: usize = 2;

    /// What the codes are too large by.
    fn bias<S: Simd>() -> i32;

    /// The codes of one group, of whose block two vectors are loaded.
    ///
    /// # Safety
    /// `block` points to a block's codes.
    #[inline(always)]
    unsafe fn codes<S: Simd>(s: S, block: *const u8, loaded: [S::B; 2], group: usize) -> [S::B; 2] {
        // SAFETY: says the caller.
        unsafe { group_codes::<S, Self>(s, block, loaded, group) }
    }

    /// One lane's dot product.
    #[inline(always)]
    fn dot<S: Simd>(s: S, sum: S::I, codes: S::B, x: i32) -> S::I {
        s.dot4_unsigned(sum, codes, x)
    }

    /// Where a block begins in its panel, and so how long a panel of that many blocks is.
    #[inline(always)]
    fn block_at(block: usize, lanes: usize) -> usize {
        let scale_bytes = if Self::HAS_MINIMUM { 4 } else { 2 };
        block * 2 * lanes * (Self::CODE_BYTES + scale_bytes)
    }

    /// The scales of a block's span, and where it has them its minimums.
    ///
    /// # Safety
    /// The panel has such a block.
    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, panel: *const u8, block: usize, _span: usize) -> Scales<S> {
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

/// Of one span of a block and the outputs of a panel: `w = scale * (code - bias) + minimum`.
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
    const BITS: usize = 8;
    const HAS_MINIMUM: bool = false;
    const PARTS: usize = 1;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        i32::from(S::BYTE_BIAS)
    }

    #[inline(always)]
    unsafe fn codes<S: Simd>(_: S, _: *const u8, loaded: [S::B; 2], _: usize) -> [S::B; 2] {
        loaded
    }

    #[inline(always)]
    fn dot<S: Simd>(s: S, sum: S::I, codes: S::B, x: i32) -> S::I {
        s.dot4(sum, codes, x)
    }
}

/// As [`Q4_1`], but in place of minimums zero points, as f16: `w = scale * (code - zero)`. A group of
/// 64 or 128 gives its scale and zero point to each of its blocks.
pub(crate) struct Int4;

impl IntCodes for Int4 {
    const BITS: usize = 4;
    const HAS_MINIMUM: bool = true;

    #[inline(always)]
    fn bias<S: Simd>() -> i32 {
        0
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, panel: *const u8, block: usize, span: usize) -> Scales<S> {
        // SAFETY: zero points lie where minimums would.
        let Scales { scales, minimums } = unsafe { Q4_1::scales(s, panel, block, span) };
        let minimum = |i: usize| s.sub(s.splat(0.0), s.mul(scales[i], minimums[i]));
        Scales {
            scales,
            minimums: [minimum(0), minimum(1)],
        }
    }
}
