//! Root-mean-square normalization, forward and backward.

use super::level::SimdLevel;
use super::parallel::{SharedMut, for_each_range, for_each_rows};
use super::simd::{Kernel, Simd, dispatch};

/// Rows whose share of the gain's gradient is summed by one task; fixed, so that the sums have one
/// order on any number of threads.
const SUM_ROWS: usize = 32;

/// `y = x / sqrt(mean(x²) + eps) * gamma` for rows as wide as `gamma`.
///
/// Source: Zhang and Sennrich (2019), equation 4, <https://arxiv.org/abs/1910.07467>.
///
/// # Panics
/// When `x` and `y` are not equally many whole rows.
pub fn rms_norm(level: SimdLevel, x: &[f32], gamma: &[f32], eps: f32, y: &mut [f32]) {
    let width = gamma.len();
    assert_eq!(x.len(), y.len(), "length of the result");
    assert!(width > 0 && x.len().is_multiple_of(width), "whole rows");
    let y = SharedMut::new(y);
    for_each_rows(x.len() / width, width, |rows| {
        let rows = Rows {
            x,
            gamma,
            eps,
            rows,
            y,
        };
        dispatch(level, rows);
    });
}

struct Rows<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    eps: f32,
    rows: std::ops::Range<usize>,
    y: SharedMut<f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads, and threads that write disjoint rows")]
    fn run<S: Simd>(self, s: S) {
        let width = self.gamma.len();
        let whole = width - width % S::LANES;
        for row in self.rows {
            let x = &self.x[row * width..][..width];
            let mut squares = s.splat(0.0);
            for i in (0..whole).step_by(S::LANES) {
                // SAFETY: inside the row.
                let x = unsafe { s.load(x.as_ptr().add(i)) };
                squares = s.fma(x, x, squares);
            }
            let mut square = s.reduce_add(squares);
            for x in &x[whole..] {
                square += x * x;
            }
            let inverse = 1.0 / (square / width as f32 + self.eps).sqrt();
            // SAFETY: inside the row of the result, which only this task writes.
            unsafe {
                let y = self.y.ptr().add(row * width);
                for i in (0..whole).step_by(S::LANES) {
                    let (x, gamma) = (
                        s.load(x.as_ptr().add(i)),
                        s.load(self.gamma.as_ptr().add(i)),
                    );
                    s.store(y.add(i), s.mul(s.mul(x, s.splat(inverse)), gamma));
                }
                for (i, (x, gamma)) in x.iter().zip(self.gamma).enumerate().skip(whole) {
                    y.add(i).write(x * inverse * gamma);
                }
            }
        }
    }
}

/// Gradients of [`rms_norm`]: of `x`, and of `gamma` where it is wanted.
///
/// With `r = 1 / rms(x)` and `g = dy · gamma`: `dx = r (g − x r² mean(g · x))` and
/// `dgamma = Σ dy · x · r` over the rows.
///
/// # Panics
/// When the lengths do not fit.
pub fn rms_norm_backward(
    level: SimdLevel,
    [x, gamma, d_y]: [&[f32]; 3],
    eps: f32,
    d_x: &mut [f32],
    d_gamma: Option<&mut [f32]>,
) {
    let width = gamma.len();
    assert!(width > 0 && x.len().is_multiple_of(width), "whole rows");
    assert!(
        x.len() == d_y.len() && x.len() == d_x.len(),
        "equal lengths"
    );
    let n_rows = x.len() / width;
    // Each task's share of the gain's gradient, where that is wanted.
    let mut sums = match d_gamma {
        Some(_) => vec![0.0; n_rows.div_ceil(SUM_ROWS) * width],
        None => Vec::new(),
    };
    let (d_x, shared_sums) = (SharedMut::new(d_x), SharedMut::new(&mut sums));
    for_each_range(n_rows, SUM_ROWS, |rows| {
        let kernel = BackwardRows {
            x,
            gamma,
            d_y,
            eps,
            sums: d_gamma
                .is_some()
                .then(|| (shared_sums, rows.start / SUM_ROWS * width)),
            rows,
            d_x,
        };
        dispatch(level, kernel);
    });
    if let Some(d_gamma) = d_gamma {
        d_gamma.fill(0.0);
        for sums in sums.chunks_exact(width) {
            for (d, sum) in d_gamma.iter_mut().zip(sums) {
                *d += sum;
            }
        }
    }
}

struct BackwardRows<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    d_y: &'a [f32],
    eps: f32,
    rows: std::ops::Range<usize>,
    d_x: SharedMut<f32>,
    /// Where this task's share of the gain's gradient goes.
    sums: Option<(SharedMut<f32>, usize)>,
}

impl Kernel for BackwardRows<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads, and threads that write disjoint rows")]
    fn run<S: Simd>(self, s: S) {
        let width = self.gamma.len();
        let whole = width - width % S::LANES;
        for row in self.rows.clone() {
            let (x, d_y) = (
                &self.x[row * width..][..width],
                &self.d_y[row * width..][..width],
            );
            let (mut squares, mut dots) = (s.splat(0.0), s.splat(0.0));
            for i in (0..whole).step_by(S::LANES) {
                // SAFETY: inside the rows.
                unsafe {
                    let x = s.load(x.as_ptr().add(i));
                    let g = s.mul(
                        s.load(d_y.as_ptr().add(i)),
                        s.load(self.gamma.as_ptr().add(i)),
                    );
                    squares = s.fma(x, x, squares);
                    dots = s.fma(g, x, dots);
                }
            }
            let (mut square, mut dot) = (s.reduce_add(squares), s.reduce_add(dots));
            for i in whole..width {
                square += x[i] * x[i];
                dot += d_y[i] * self.gamma[i] * x[i];
            }
            let inverse = 1.0 / (square / width as f32 + self.eps).sqrt();
            let pull = inverse * inverse * dot / width as f32;
            // SAFETY: inside the rows of the results, which only this task writes.
            unsafe {
                let d_x = self.d_x.ptr().add(row * width);
                for i in (0..whole).step_by(S::LANES) {
                    let (x, d_y) = (s.load(x.as_ptr().add(i)), s.load(d_y.as_ptr().add(i)));
                    let g = s.mul(d_y, s.load(self.gamma.as_ptr().add(i)));
                    let d = s.sub(g, s.mul(x, s.splat(pull)));
                    s.store(d_x.add(i), s.mul(d, s.splat(inverse)));
                    if let Some((sums, at)) = self.sums {
                        let sums = sums.ptr().add(at + i);
                        let share = s.mul(s.mul(d_y, x), s.splat(inverse));
                        s.store(sums, s.add(s.load(sums), share));
                    }
                }
                for i in whole..width {
                    let d = d_y[i] * self.gamma[i] - x[i] * pull;
                    d_x.add(i).write(d * inverse);
                    if let Some((sums, at)) = self.sums {
                        *sums.ptr().add(at + i) += d_y[i] * x[i] * inverse;
                    }
                }
            }
        }
    }
}
