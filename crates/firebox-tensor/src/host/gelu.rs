//! The gate of an encoder's feed-forward block.

use std::ops::Range;

use super::level::SimdLevel;
use super::math::exp;
use super::parallel::{SharedMut, for_each_rows};
use super::simd::{Kernel, Simd, dispatch};

/// No level has more lanes.
const MOST_LANES: usize = 16;

/// `x = gelu(x + bias)` for rows as wide as `bias`, with `gelu(x) = x Φ(x)` and the normal
/// distribution's `Φ(x) = (1 + erf(x / √2)) / 2`, not its approximation by tanh.
///
/// `erf` is a polynomial in `1 / (1 + 0.3275911 |x|)` times `e^(-x²)`, off by 1.5e-7 at most.
///
/// Source: Hendrycks and Gimpel (2016), <https://arxiv.org/abs/1606.08415>; Abramowitz and Stegun
/// (1964), formula 7.1.26.
///
/// # Panics
/// When `x` is not whole rows.
pub fn gelu(level: SimdLevel, x: &mut [f32], bias: &[f32]) {
    let width = bias.len();
    assert!(width > 0 && x.len().is_multiple_of(width), "whole rows");
    let n_rows = x.len() / width;
    let x = SharedMut::new(x);
    for_each_rows(n_rows, width, |rows| {
        dispatch(level, Rows { x, bias, rows });
    });
}

struct Rows<'a> {
    x: SharedMut<f32>,
    bias: &'a [f32],
    rows: Range<usize>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads, and threads that write disjoint rows")]
    fn run<S: Simd>(self, s: S) {
        let width = self.bias.len();
        let whole = width - width % S::LANES;
        for row in self.rows {
            // SAFETY: a row of `x`, which only this task touches, and the bias, as wide.
            unsafe {
                let x = self.x.skip(row * width).ptr();
                for i in (0..whole).step_by(S::LANES) {
                    let sum = s.add(s.load(x.add(i)), s.load(self.bias.as_ptr().add(i)));
                    s.store(x.add(i), of(s, sum));
                }
                if whole < width {
                    let mut rest = [0.0_f32; MOST_LANES];
                    for i in whole..width {
                        rest[i - whole] = *x.add(i) + self.bias[i];
                    }
                    s.store(rest.as_mut_ptr(), of(s, s.load(rest.as_ptr())));
                    for i in whole..width {
                        x.add(i).write(rest[i - whole]);
                    }
                }
            }
        }
    }
}

/// `max(x, 0) − |x| (1 − erf(|x| / √2)) / 2`: both signs at once, and small results keep their digits.
#[inline(always)]
fn of<S: Simd>(s: S, x: S::F) -> S::F {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let size = s.max(s.sub(zero, x), x);
    let t = s.div(
        one,
        s.fma(
            size,
            s.splat(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2),
            one,
        ),
    );
    let mut p = s.splat(1.061_405_4);
    for coefficient in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        p = s.fma(p, t, s.splat(coefficient));
    }
    let bell = exp(s, s.mul(s.mul(x, x), s.splat(-0.5)));
    let beyond = s.mul(s.mul(s.mul(p, t), bell), s.splat(0.5));
    // The order of arguments lets NaN through.
    s.sub(s.max(zero, x), s.mul(size, beyond))
}
