//! Root-mean-square normalization.

use super::level::SimdLevel;
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};

/// Values that one task works on, about: less is done by one thread sooner than by two.
pub(crate) const TASK_VALUES: usize = 16 * 1024;

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
    let (n_rows, task_rows) = (x.len() / width, TASK_VALUES.div_ceil(width));
    let y = SharedMut::new(y);
    for_each(n_rows.div_ceil(task_rows), |task| {
        let rows = task * task_rows..n_rows.min((task + 1) * task_rows);
        dispatch(
            level,
            Rows {
                x,
                gamma,
                eps,
                rows,
                y,
            },
        );
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
