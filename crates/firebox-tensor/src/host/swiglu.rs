//! The gate of the feed-forward block.

use super::level::SimdLevel;
use super::math::silu;
use super::parallel::{SharedMut, for_each};
use super::rms_norm::TASK_VALUES;
use super::simd::{Kernel, Simd, dispatch};

/// `y = silu(gate) * up`: rows `[gate, up]`, `[rows, 2 * width]`, to `[rows, width]`.
///
/// Source: Shazeer (2020), equation 6, <https://arxiv.org/abs/2002.05202>.
///
/// # Panics
/// When the lengths do not fit.
pub fn swiglu(level: SimdLevel, gate_up: &[f32], width: usize, y: &mut [f32]) {
    assert!(width > 0 && y.len().is_multiple_of(width), "whole rows");
    assert_eq!(gate_up.len(), 2 * y.len(), "length of the result");
    let (n_rows, task_rows) = (y.len() / width, TASK_VALUES.div_ceil(width));
    let y = SharedMut::new(y);
    for_each(n_rows.div_ceil(task_rows), |task| {
        let rows = task * task_rows..n_rows.min((task + 1) * task_rows);
        dispatch(
            level,
            Rows {
                gate_up,
                width,
                rows,
                y,
            },
        );
    });
}

struct Rows<'a> {
    gate_up: &'a [f32],
    width: usize,
    rows: std::ops::Range<usize>,
    y: SharedMut<f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads, and threads that write disjoint rows")]
    fn run<S: Simd>(self, s: S) {
        let width = self.width;
        for row in self.rows {
            let (gate, up) = self.gate_up[row * 2 * width..][..2 * width].split_at(width);
            for first in (0..width).step_by(S::LANES) {
                let n = S::LANES.min(width - first);
                // The last vector of a row that is not whole goes through a copy.
                let (mut g, mut u) = ([0.0_f32; 16], [0.0_f32; 16]);
                // SAFETY: inside the rows; no level has more than 16 lanes; only this task writes
                // this row of the result.
                unsafe {
                    let y = self.y.ptr().add(row * width + first);
                    if n == S::LANES {
                        let gate = s.load(gate.as_ptr().add(first));
                        let up = s.load(up.as_ptr().add(first));
                        s.store(y, s.mul(silu(s, gate), up));
                    } else {
                        g[..n].copy_from_slice(&gate[first..]);
                        u[..n].copy_from_slice(&up[first..]);
                        let product = s.mul(silu(s, s.load(g.as_ptr())), s.load(u.as_ptr()));
                        s.store(g.as_mut_ptr(), product);
                        std::ptr::copy_nonoverlapping(g.as_ptr(), y, n);
                    }
                }
            }
        }
    }
}
