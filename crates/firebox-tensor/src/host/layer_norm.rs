//! Layer normalization.

use std::ops::Range;

use super::level::SimdLevel;
use super::parallel::{SharedMut, for_each_rows};
use super::simd::{Kernel, Simd, dispatch};

/// `(x − mean) / sqrt(variance + eps) * gamma + beta` over rows as wide as `gamma`.
///
/// Source: Ba et al. (2016), equation 4, <https://arxiv.org/abs/1607.06450>.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Learned gain, `[width]`.
    pub gamma: Vec<f32>,
    /// Learned shift, `[width]`.
    pub beta: Vec<f32>,
    /// Added to the variance; no unit.
    pub eps: f32,
}

impl LayerNorm {
    /// `x = norm(x + bias)`, `bias` added to every row.
    ///
    /// # Panics
    /// When `x` is not whole rows, or the widths differ.
    pub fn apply(&self, level: SimdLevel, x: &mut [f32], bias: &[f32]) {
        let width = self.gamma.len();
        assert!(
            self.beta.len() == width && bias.len() == width,
            "equal widths"
        );
        assert!(width > 0 && x.len().is_multiple_of(width), "whole rows");
        let n_rows = x.len() / width;
        let x = SharedMut::new(x);
        for_each_rows(n_rows, width, |rows| {
            let rows = Rows {
                norm: self,
                bias,
                rows,
                x,
            };
            dispatch(level, rows);
        });
    }
}

struct Rows<'a> {
    norm: &'a LayerNorm,
    bias: &'a [f32],
    rows: Range<usize>,
    x: SharedMut<f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "threads that write disjoint rows")]
    fn run<S: Simd>(self, s: S) {
        let width = self.bias.len();
        for row in self.rows {
            // SAFETY: a row that only this task touches.
            let x =
                unsafe { std::slice::from_raw_parts_mut(self.x.skip(row * width).ptr(), width) };
            normalize(s, x, self.bias, self.norm);
        }
    }
}

#[inline(always)]
#[expect(unsafe_code, reason = "loads and stores")]
fn normalize<S: Simd>(s: S, x: &mut [f32], bias: &[f32], norm: &LayerNorm) {
    let width = x.len();
    let whole = width - width % S::LANES;
    let (gamma, beta) = (norm.gamma.as_ptr(), norm.beta.as_ptr());
    let mut sums = s.splat(0.0);
    for i in (0..whole).step_by(S::LANES) {
        // SAFETY: inside the row and the bias, as wide.
        unsafe {
            let at = x.as_mut_ptr().add(i);
            let sum = s.add(s.load(at), s.load(bias.as_ptr().add(i)));
            s.store(at, sum);
            sums = s.add(sums, sum);
        }
    }
    let mut sum = s.reduce_add(sums);
    for (x, bias) in x.iter_mut().zip(bias).skip(whole) {
        *x += bias;
        sum += *x;
    }
    let mean = sum / width as f32;
    let mut squares = s.splat(0.0);
    for i in (0..whole).step_by(S::LANES) {
        // SAFETY: inside the row.
        let off = s.sub(unsafe { s.load(x.as_ptr().add(i)) }, s.splat(mean));
        squares = s.fma(off, off, squares);
    }
    let mut square = s.reduce_add(squares);
    for x in &x[whole..] {
        square += (x - mean) * (x - mean);
    }
    let inverse = 1.0 / (square / width as f32 + norm.eps).sqrt();
    for i in (0..whole).step_by(S::LANES) {
        // SAFETY: inside the row and what is as wide.
        unsafe {
            let at = x.as_mut_ptr().add(i);
            let off = s.mul(s.sub(s.load(at), s.splat(mean)), s.splat(inverse));
            s.store(at, s.fma(off, s.load(gamma.add(i)), s.load(beta.add(i))));
        }
    }
    let scales = norm.gamma.iter().zip(&norm.beta);
    for (x, (gamma, beta)) in x.iter_mut().zip(scales).skip(whole) {
        *x = (*x - mean) * inverse * gamma + beta;
    }
}
