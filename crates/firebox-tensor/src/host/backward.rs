//! Gradients of the norm and of the gate.

use super::level::SimdLevel;
use super::math::sigmoid;
use super::parallel::{SharedMut, for_each};
use super::rms_norm::TASK_VALUES;
use super::simd::{Kernel, Simd, dispatch};

/// Rows whose share of the gain's gradient is summed by one task; fixed, so that the sums have one
/// order on any number of threads.
const SUM_ROWS: usize = 32;

/// Gradients of [`rms_norm`](super::rms_norm): of `x`, and of `gamma` where it is wanted.
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
    let n_tasks = n_rows.div_ceil(SUM_ROWS);
    let mut sums = vec![
        0.0;
        if d_gamma.is_some() {
            n_tasks * width
        } else {
            0
        }
    ];
    let (d_x, shared_sums) = (SharedMut::new(d_x), SharedMut::new(&mut sums));
    for_each(n_tasks, |task| {
        let kernel = NormRows {
            x,
            gamma,
            d_y,
            eps,
            rows: task * SUM_ROWS..n_rows.min((task + 1) * SUM_ROWS),
            d_x,
            sums: d_gamma.is_some().then(|| (shared_sums, task * width)),
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

struct NormRows<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    d_y: &'a [f32],
    eps: f32,
    rows: std::ops::Range<usize>,
    d_x: SharedMut<f32>,
    /// Where this task's share of the gain's gradient goes.
    sums: Option<(SharedMut<f32>, usize)>,
}

impl Kernel for NormRows<'_> {
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

/// `y = silu(gate) * up`, element by element.
///
/// # Panics
/// When the lengths differ.
pub fn swiglu_apart(level: SimdLevel, gate: &[f32], up: &[f32], y: &mut [f32]) {
    assert!(
        gate.len() == up.len() && gate.len() == y.len(),
        "equal lengths"
    );
    let y = SharedMut::new(y);
    for_each(gate.len().div_ceil(TASK_VALUES), |task| {
        let range = task * TASK_VALUES..gate.len().min((task + 1) * TASK_VALUES);
        dispatch(
            level,
            Gate {
                gate,
                up,
                d_y: None,
                range,
                out: [y, y],
            },
        );
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
    for_each(n.div_ceil(TASK_VALUES), |task| {
        let range = task * TASK_VALUES..n.min((task + 1) * TASK_VALUES);
        dispatch(
            level,
            Gate {
                gate,
                up,
                d_y: Some(d_y),
                range,
                out,
            },
        );
    });
}

/// Forward into the first result, or backward into both.
struct Gate<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    d_y: Option<&'a [f32]>,
    range: std::ops::Range<usize>,
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
