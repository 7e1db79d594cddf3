//! The gate of the feed-forward block, forward and backward.

use std::ops::Range;

use super::level::SimdLevel;
use super::math::sigmoid;
use super::parallel::{SharedMut, TASK_VALUES, for_each_range, for_each_rows};
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
    let n_rows = y.len() / width;
    let y = SharedMut::new(y);
    for_each_rows(n_rows, width, |rows| {
        let rows = Rows {
            gate_up,
            width,
            rows,
            y,
        };
        dispatch(level, rows);
    });
}

/// As [`swiglu`], gates and ups apart: element by element.
///
/// # Panics
/// When the lengths differ.
pub fn swiglu_apart(level: SimdLevel, gate: &[f32], up: &[f32], y: &mut [f32]) {
    assert!(
        gate.len() == up.len() && gate.len() == y.len(),
        "equal lengths"
    );
    let y = SharedMut::new(y);
    for_each_range(gate.len(), TASK_VALUES, |range| {
        let gate = Gate {
            gate,
            up,
            d_y: None,
            range,
            out: [y, y],
        };
        dispatch(level, gate);
    });
}

/// Gradients of `silu(gate) * up`: of the gate, then of `up`.
///
/// `d_up = dy · silu(gate)` and `d_gate = dy · up · σ (1 + gate (1 − σ))` with `σ = sigmoid(gate)`.
///
/// # Panics
/// When the lengths differ.
pub fn swiglu_backward(
    level: SimdLevel,
    [gate, up, d_y]: [&[f32]; 3],
    d_gate: &mut [f32],
    d_up: &mut [f32],
) {
    let n = gate.len();
    assert!(
        [up.len(), d_y.len(), d_gate.len(), d_up.len()] == [n; 4],
        "equal lengths"
    );
    let out = [SharedMut::new(d_gate), SharedMut::new(d_up)];
    for_each_range(n, TASK_VALUES, |range| {
        let gate = Gate {
            gate,
            up,
            d_y: Some(d_y),
            range,
            out,
        };
        dispatch(level, gate);
    });
}

/// Rows of `[gate, up]`.
struct Rows<'a> {
    gate_up: &'a [f32],
    width: usize,
    rows: Range<usize>,
    y: SharedMut<f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.rows {
            let (gate, up) =
                self.gate_up[row * 2 * self.width..][..2 * self.width].split_at(self.width);
            let y = self.y.skip(row * self.width);
            let gate = Gate {
                gate,
                up,
                d_y: None,
                range: 0..self.width,
                out: [y, y],
            };
            gate.run(s);
        }
    }
}

/// Forward into the first result, or backward into both.
struct Gate<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    d_y: Option<&'a [f32]>,
    range: Range<usize>,
    out: [SharedMut<f32>; 2],
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads, and threads that write disjoint parts")]
    fn run<S: Simd>(self, s: S) {
        /// No level has more lanes.
        const MOST: usize = 16;
        for first in self.range.clone().step_by(S::LANES) {
            let n = S::LANES.min(self.range.end - first);
            // What is less than a vector goes through copies.
            let mut copies = [[0.0_f32; MOST]; 5];
            // SAFETY: `n` elements from `first` on are inside every slice, and only this task
            // writes them.
            unsafe {
                let mut from = [
                    self.gate.as_ptr().add(first),
                    self.up.as_ptr().add(first),
                    self.d_y.unwrap_or(self.gate).as_ptr().add(first),
                ];
                let mut to = [self.out[0].ptr().add(first), self.out[1].ptr().add(first)];
                let whole = to;
                if n < S::LANES {
                    for (from, copy) in from.iter_mut().zip(&mut copies) {
                        std::ptr::copy_nonoverlapping(*from, copy.as_mut_ptr(), n);
                        *from = copy.as_ptr();
                    }
                    to = [copies[3].as_mut_ptr(), copies[4].as_mut_ptr()];
                }
                let (gate, up) = (s.load(from[0]), s.load(from[1]));
                let sigma = sigmoid(s, gate);
                let silu = s.mul(gate, sigma);
                match self.d_y {
                    None => s.store(to[0], s.mul(silu, up)),
                    Some(_) => {
                        let (one, d_y) = (s.splat(1.0), s.load(from[2]));
                        let slope = s.mul(sigma, s.fma(gate, s.sub(one, sigma), one));
                        s.store(to[0], s.mul(s.mul(d_y, up), slope));
                        s.store(to[1], s.mul(d_y, silu));
                    }
                }
                if n < S::LANES {
                    let n_results = if self.d_y.is_some() { 2 } else { 1 };
                    for i in 0..n_results {
                        std::ptr::copy_nonoverlapping(to[i], whole[i], n);
                    }
                }
            }
        }
    }
}
