//! Panels whose weights become f32 as they are read.
//!
//! A panel holds two vectors of neighbouring outputs for every input: `[in, 2 * LANES]`.

#![expect(
    unsafe_code,
    reason = "weights are read through pointers in the innermost loop"
)]

use bytemuck::Pod;

use crate::packed::NF4_CODEBOOK;

use super::simd::Simd;

/// Inputs of one NF4 block.
pub(crate) const NF4_BLOCK: usize = crate::packed::NF4_BLOCK_SIZE;

/// A panel that the innermost loop reads.
pub(crate) trait FloatPanel<S: Simd>: Copy {
    /// What the left factor's rows consist of: one input, or a pair.
    type Value: Copy;
    type Vector: Copy;

    /// The weights of input (or pair) `k`.
    ///
    /// # Safety
    /// `k` is below the panel's inputs.
    unsafe fn load(self, s: S, k: usize) -> [Self::Vector; 2];

    /// The left factor's value in every lane.
    fn splat(s: S, x: Self::Value) -> Self::Vector;

    /// `x * weights + sum`.
    fn add_product(s: S, x: Self::Vector, weights: Self::Vector, sum: S::F) -> S::F;
}

/// The part of [`FloatPanel`] that all panels have whose weights become f32.
macro_rules! multiplied_in_f32 {
    () => {
        type Value = f32;
        type Vector = S::F;

        #[inline(always)]
        fn splat(s: S, x: f32) -> S::F {
            s.splat(x)
        }

        #[inline(always)]
        fn add_product(s: S, x: S::F, weights: S::F, sum: S::F) -> S::F {
            s.fma(x, weights, sum)
        }
    };
}

/// Weights in panels.
pub(crate) trait FloatWeights: Sync {
    /// See [`FloatPanel::Value`].
    type Value: Pod + Send + Sync;
    type Panel<S: Simd>: FloatPanel<S, Value = Self::Value>;
    /// See [`Kernel::MULTIPLIES_BF16`](super::simd::Kernel::MULTIPLIES_BF16).
    const MULTIPLIES_BF16: bool = false;

    /// The panel of outputs `2 * LANES * index ..`.
    ///
    /// # Safety
    /// There is such a panel, laid out for `S`.
    unsafe fn panel<S: Simd>(&self, s: S, index: usize) -> Self::Panel<S>;
}

/// Rows of f32 (or pairs of bf16), two vectors wide; `stride` values from one to the next.
#[derive(Clone, Copy)]
pub(crate) struct StridedPanel<X> {
    pub(crate) values: *const X,
    pub(crate) stride: usize,
}

pub(crate) type F32Panel = StridedPanel<f32>;

/// A number that lies in memory as it is multiplied.
pub(crate) trait Multiplied: Pod + Send + Sync {
    const IS_BF16_PAIR: bool;
    type Vector<S: Simd>: Copy;

    /// # Safety
    /// `from` is good for a vector.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> Self::Vector<S>;
    fn splat<S: Simd>(s: S, x: Self) -> Self::Vector<S>;
    fn add_product<S: Simd>(s: S, x: Self::Vector<S>, w: Self::Vector<S>, sum: S::F) -> S::F;
}

impl Multiplied for f32 {
    const IS_BF16_PAIR: bool = false;
    type Vector<S: Simd> = S::F;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::F {
        // SAFETY: says the caller.
        unsafe { s.load(from) }
    }

    #[inline(always)]
    fn splat<S: Simd>(s: S, x: f32) -> S::F {
        s.splat(x)
    }

    #[inline(always)]
    fn add_product<S: Simd>(s: S, x: S::F, w: S::F, sum: S::F) -> S::F {
        s.fma(x, w, sum)
    }
}

/// Two bf16, the first one low.
impl Multiplied for u32 {
    const IS_BF16_PAIR: bool = true;
    type Vector<S: Simd> = S::I;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u32) -> S::I {
        // SAFETY: says the caller.
        unsafe { s.load_int(from) }
    }

    #[inline(always)]
    fn splat<S: Simd>(s: S, x: u32) -> S::I {
        s.int_splat(x.cast_signed())
    }

    #[inline(always)]
    fn add_product<S: Simd>(s: S, x: S::I, w: S::I, sum: S::F) -> S::F {
        s.dot2_bf16(sum, w, x)
    }
}

impl<S: Simd, X: Multiplied> FloatPanel<S> for StridedPanel<X> {
    type Value = X;
    type Vector = X::Vector<S>;

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [X::Vector<S>; 2] {
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.values.add(k * self.stride);
            [X::load(s, row), X::load(s, row.add(S::LANES))]
        }
    }

    #[inline(always)]
    fn splat(s: S, x: X) -> X::Vector<S> {
        X::splat(s, x)
    }

    #[inline(always)]
    fn add_product(s: S, x: X::Vector<S>, weights: X::Vector<S>, sum: S::F) -> S::F {
        X::add_product(s, x, weights, sum)
    }
}

/// f32 weights (or pairs of bf16), `[panels, in, 2 * LANES]`, `in` in pairs where they are.
pub(crate) struct Panels<'a, X> {
    pub(crate) values: &'a [X],
    pub(crate) n_in: usize,
}

impl<X: Multiplied> FloatWeights for Panels<'_, X> {
    type Value = X;
    type Panel<S: Simd> = StridedPanel<X>;
    const MULTIPLIES_BF16: bool = X::IS_BF16_PAIR;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, _: S, index: usize) -> StridedPanel<X> {
        let stride = 2 * S::LANES;
        // SAFETY: there is such a panel, says the caller.
        let values = unsafe { self.values.as_ptr().add(index * self.n_in * stride) };
        StridedPanel { values, stride }
    }
}

/// Rows of f32 (or pairs of bf16) as they lie, `[in, out]`: a panel is two vectors of each. The last
/// panel, where it is not whole, is a copy.
pub(crate) struct RowMajor<'a, X> {
    values: &'a [X],
    n_out: usize,
    /// `[in, 2 * LANES]`, filled up with zeros; empty where the last panel is whole.
    last: Vec<X>,
}

impl<'a, X: Pod> RowMajor<'a, X> {
    /// `values` `[in, n_out]`, in panels of `width`.
    pub(crate) fn new(values: &'a [X], n_out: usize, width: usize) -> Self {
        let n_last = n_out % width;
        let mut last = Vec::new();
        if n_last > 0 {
            last.resize(values.len() / n_out * width, X::zeroed());
            for (row, last) in values.chunks_exact(n_out).zip(last.chunks_exact_mut(width)) {
                last[..n_last].copy_from_slice(&row[n_out - n_last..]);
            }
        }
        Self {
            values,
            n_out,
            last,
        }
    }
}

impl<X: Multiplied> FloatWeights for RowMajor<'_, X> {
    type Value = X;
    type Panel<S: Simd> = StridedPanel<X>;
    const MULTIPLIES_BF16: bool = X::IS_BF16_PAIR;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, _: S, index: usize) -> StridedPanel<X> {
        let width = 2 * S::LANES;
        if (index + 1) * width > self.n_out {
            return StridedPanel {
                values: self.last.as_ptr(),
                stride: width,
            };
        }
        // SAFETY: there is such a panel, says the caller.
        let values = unsafe { self.values.as_ptr().add(index * width) };
        StridedPanel {
            values,
            stride: self.n_out,
        }
    }
}

/// bf16 or f16 weights, `[panels, in, 2 * LANES]`.
pub(crate) struct HalfWeights<'a, const BF16: bool> {
    pub(crate) values: &'a [u16],
    pub(crate) n_in: usize,
}

/// Rows of bf16 or f16, two vectors wide; `stride` values from one to the next.
#[derive(Clone, Copy)]
pub(crate) struct HalfPanel<const BF16: bool> {
    pub(crate) values: *const u16,
    pub(crate) stride: usize,
}

impl<const BF16: bool> FloatWeights for HalfWeights<'_, BF16> {
    type Value = f32;
    type Panel<S: Simd> = HalfPanel<BF16>;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, _: S, index: usize) -> HalfPanel<BF16> {
        let stride = 2 * S::LANES;
        // SAFETY: there is such a panel, says the caller.
        let values = unsafe { self.values.as_ptr().add(index * self.n_in * stride) };
        HalfPanel { values, stride }
    }
}

impl<S: Simd, const BF16: bool> FloatPanel<S> for HalfPanel<BF16> {
    multiplied_in_f32!();

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [S::F; 2] {
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.values.add(k * self.stride);
            if BF16 {
                [s.load_bf16(row), s.load_bf16(row.add(S::LANES))]
            } else {
                [s.load_f16(row), s.load_f16(row.add(S::LANES))]
            }
        }
    }
}

/// Rows of signed bytes whose scales are applied elsewhere, two vectors wide; `stride` codes from
/// one to the next.
#[derive(Clone, Copy)]
pub(crate) struct CodePanel {
    pub(crate) codes: *const i8,
    pub(crate) stride: usize,
}

impl<S: Simd> FloatPanel<S> for CodePanel {
    multiplied_in_f32!();

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [S::F; 2] {
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.codes.add(k * self.stride);
            [s.load_i8(row), s.load_i8(row.add(S::LANES))]
        }
    }
}

/// Signed bytes, `[panels, in, 2 * LANES]`, and a scale for each output.
pub(crate) struct Int8Weights<'a> {
    pub(crate) codes: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) n_in: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Int8Panel<F> {
    codes: *const i8,
    scales: [F; 2],
}

impl FloatWeights for Int8Weights<'_> {
    type Value = f32;
    type Panel<S: Simd> = Int8Panel<S::F>;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, s: S, index: usize) -> Int8Panel<S::F> {
        let width = 2 * S::LANES;
        // SAFETY: there is such a panel, says the caller.
        unsafe {
            let scales = self.scales.as_ptr().add(index * width);
            Int8Panel {
                codes: self.codes.as_ptr().add(index * self.n_in * width),
                scales: [s.load(scales), s.load(scales.add(S::LANES))],
            }
        }
    }
}

impl<S: Simd> FloatPanel<S> for Int8Panel<S::F> {
    multiplied_in_f32!();

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [S::F; 2] {
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.codes.add(k * 2 * S::LANES);
            [
                s.mul(s.load_i8(row), self.scales[0]),
                s.mul(s.load_i8(row.add(S::LANES)), self.scales[1]),
            ]
        }
    }
}

/// NF4 codes, `[panels, in / 2, 2 * LANES]` bytes with the even input in the low nibble, and the
/// blocks' scales, `[panels, in / 64, 2 * LANES]`.
pub(crate) struct Nf4Weights<'a> {
    pub(crate) codes: &'a [u8],
    pub(crate) scales: &'a [f32],
    pub(crate) n_in: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Nf4Panel {
    codes: *const u8,
    scales: *const f32,
}

impl FloatWeights for Nf4Weights<'_> {
    type Value = f32;
    type Panel<S: Simd> = Nf4Panel;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, _: S, index: usize) -> Nf4Panel {
        let width = 2 * S::LANES;
        // SAFETY: there is such a panel, says the caller.
        unsafe {
            Nf4Panel {
                codes: self.codes.as_ptr().add(index * self.n_in / 2 * width),
                scales: self
                    .scales
                    .as_ptr()
                    .add(index * (self.n_in / NF4_BLOCK) * width),
            }
        }
    }
}

impl<S: Simd> FloatPanel<S> for Nf4Panel {
    multiplied_in_f32!();

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [S::F; 2] {
        let width = 2 * S::LANES;
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.codes.add(k / 2 * width);
            let scales = self.scales.add(k / NF4_BLOCK * width);
            let codes = [s.load_u8(row), s.load_u8(row.add(S::LANES))];
            let table = &NF4_CODEBOOK;
            let values = if k.is_multiple_of(2) {
                [s.lookup_low(table, codes[0]), s.lookup_low(table, codes[1])]
            } else {
                [
                    s.lookup_high(table, codes[0]),
                    s.lookup_high(table, codes[1]),
                ]
            };
            [
                s.mul(values[0], s.load(scales)),
                s.mul(values[1], s.load(scales.add(S::LANES))),
            ]
        }
    }
}
