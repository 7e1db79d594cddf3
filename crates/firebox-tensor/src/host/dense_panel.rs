//! Panels of numbers that lie in memory as they are multiplied: f32, or pairs of bf16.

#![expect(
    unsafe_code,
    reason = "weights are read through pointers in the innermost loop"
)]

use std::ops::Range;

use bytemuck::Pod;

use super::float_panel::{FloatPanel, FloatWeights, PanelCopy, copied_block};
use super::simd::Simd;

/// Values from one row to the next above which rows lie apart: a block of them spans many pages, and may
/// share a few of the first cache's sets.
const FAR: usize = 128;

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
    /// # Safety
    /// `to` is good for a vector.
    unsafe fn store<S: Simd>(s: S, x: Self::Vector<S>, to: *mut Self);
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
    unsafe fn store<S: Simd>(s: S, x: S::F, to: *mut f32) {
        // SAFETY: says the caller.
        unsafe { s.store(to, x) }
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
    unsafe fn store<S: Simd>(s: S, x: S::I, to: *mut u32) {
        // SAFETY: says the caller.
        unsafe { s.store_int(to, x) }
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

    #[inline(always)]
    unsafe fn store(s: S, weights: X::Vector<S>, to: *mut X) {
        // SAFETY: says the caller.
        unsafe { X::store(s, weights, to) }
    }

    /// Copied where the rows lie apart.
    #[inline(always)]
    unsafe fn near(self, s: S, inputs: Range<usize>, copy: &mut PanelCopy) -> Self {
        // SAFETY: says the caller.
        unsafe {
            if self.stride > FAR {
                return copied_block(s, self, inputs, copy);
            }
            Self {
                values: self.values.add(inputs.start * self.stride),
                ..self
            }
        }
    }
}

/// f32 weights (or pairs of bf16), `[panels, in, 2 * LANES]`, `in` in pairs where they are.
pub(crate) struct Panels<'a, X> {
    pub(crate) values: &'a [X],
    pub(crate) n_in: usize,
}

impl<X> Panels<'_, X> {
    /// Panel `index` of those of `width`.
    #[inline(always)]
    fn at(&self, index: usize, width: usize) -> StridedPanel<X> {
        StridedPanel {
            values: self.values[index * self.n_in * width..].as_ptr(),
            stride: width,
        }
    }
}

impl<X: Multiplied> FloatWeights for Panels<'_, X> {
    type Value = X;
    type Panel<S: Simd> = StridedPanel<X>;
    const MULTIPLIES_BF16: bool = X::IS_BF16_PAIR;
    const LIE_NEAR: bool = true;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, _: S, index: usize) -> StridedPanel<X> {
        self.at(index, 2 * S::LANES)
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

impl<X> RowMajor<'_, X> {
    /// Panel `index` of those of `width`.
    #[inline(always)]
    fn at(&self, index: usize, width: usize) -> StridedPanel<X> {
        let (values, stride) = match (index + 1) * width > self.n_out {
            true => (&self.last[..], width),
            false => (&self.values[index * width..], self.n_out),
        };
        StridedPanel {
            values: values.as_ptr(),
            stride,
        }
    }
}

impl<X: Multiplied> FloatWeights for RowMajor<'_, X> {
    type Value = X;
    type Panel<S: Simd> = StridedPanel<X>;
    const MULTIPLIES_BF16: bool = X::IS_BF16_PAIR;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, _: S, index: usize) -> StridedPanel<X> {
        self.at(index, 2 * S::LANES)
    }
}
