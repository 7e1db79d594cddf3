//! Rotary position embeddings, in place.

#[cfg(feature = "gpu")]
use std::sync::OnceLock;

use super::level::SimdLevel;
use super::parallel::{SharedMut, for_each_rows};
use super::simd::{Kernel, Simd, dispatch};

/// Cosines and sines of positions from 0 on, `[positions, head_dim / 2]` each.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    frequencies: Vec<f32>,
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// The same on the first GPU that asked: all cosines, then all sines.
    #[cfg(feature = "gpu")]
    on_gpu: OnceLock<Box<burn::tensor::Tensor<1>>>,
}

impl RotaryTable {
    /// An empty table of these frequencies.
    pub fn new(frequencies: &[f64]) -> Self {
        Self {
            frequencies: frequencies.iter().map(|f| *f as f32).collect(),
            cos: Vec::new(),
            sin: Vec::new(),
            #[cfg(feature = "gpu")]
            on_gpu: OnceLock::new(),
        }
    }

    /// Makes the table reach to position `n_positions - 1`. The angle is a product in f32, as in
    /// transformers, so that long positions agree to the last bit.
    pub fn reach(&mut self, n_positions: usize) {
        let half = self.frequencies.len();
        #[cfg(feature = "gpu")]
        if self.cos.len() < n_positions * half {
            self.on_gpu = OnceLock::new();
        }
        for position in self.cos.len() / half.max(1)..n_positions {
            for frequency in &self.frequencies {
                let angle = position as f32 * frequency;
                self.cos.push(angle.cos());
                self.sin.push(angle.sin());
            }
        }
    }
}

/// For the GPU's kernels.
#[cfg(feature = "gpu")]
impl RotaryTable {
    pub(crate) fn cos(&self) -> &[f32] {
        &self.cos
    }

    pub(crate) fn sin(&self) -> &[f32] {
        &self.sin
    }

    pub(crate) fn on_gpu(&self) -> &OnceLock<Box<burn::tensor::Tensor<1>>> {
        &self.on_gpu
    }
}

/// Turns the pairs `(x[i], x[i + head_dim / 2])` of the first `n_heads` heads of every row by the
/// angle of the row's position.
///
/// Source: Su et al. (2021), equation 34, <https://arxiv.org/abs/2104.09864>.
///
/// # Shapes
/// `x`: rows of `stride` values that begin with `[n_heads, head_dim]`; one position a row.
///
/// # Panics
/// When the lengths do not fit, or the table does not reach a position.
pub fn rotate(
    level: SimdLevel,
    x: &mut [f32],
    stride: usize,
    n_heads: usize,
    table: &RotaryTable,
    positions: &[usize],
) {
    turn(level, x, stride, n_heads, table, positions, false);
}

/// The inverse of [`rotate`], and its gradient.
///
/// # Panics
/// As [`rotate`].
pub fn rotate_back(
    level: SimdLevel,
    x: &mut [f32],
    stride: usize,
    n_heads: usize,
    table: &RotaryTable,
    positions: &[usize],
) {
    turn(level, x, stride, n_heads, table, positions, true);
}

fn turn(
    level: SimdLevel,
    x: &mut [f32],
    stride: usize,
    n_heads: usize,
    table: &RotaryTable,
    positions: &[usize],
    back: bool,
) {
    let half = table.frequencies.len();
    assert!(
        n_heads * 2 * half <= stride && positions.len() * stride <= x.len(),
        "rows"
    );
    let n_positions = table.cos.len() / half.max(1);
    assert!(
        positions.iter().all(|&p| p < n_positions),
        "the table is too short"
    );
    let x = SharedMut::new(x);
    for_each_rows(positions.len(), stride, |rows| {
        let rows = Rows {
            x,
            stride,
            n_heads,
            table,
            positions,
            rows,
            sign: if back { -1.0 } else { 1.0 },
        };
        dispatch(level, rows);
    });
}

struct Rows<'a> {
    x: SharedMut<f32>,
    stride: usize,
    n_heads: usize,
    table: &'a RotaryTable,
    positions: &'a [usize],
    rows: std::ops::Range<usize>,
    /// -1 to turn back.
    sign: f32,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads, and threads that write disjoint rows")]
    fn run<S: Simd>(self, s: S) {
        let half = self.table.frequencies.len();
        let whole = half - half % S::LANES;
        for row in self.rows {
            let at = self.positions[row] * half;
            let (cos, sin) = (
                &self.table.cos[at..at + half],
                &self.table.sin[at..at + half],
            );
            for head in 0..self.n_heads {
                // SAFETY: inside the row, which only this task touches.
                unsafe {
                    let first = self.x.ptr().add(row * self.stride + head * 2 * half);
                    let second = first.add(half);
                    for i in (0..whole).step_by(S::LANES) {
                        let (c, d) = (s.load(cos.as_ptr().add(i)), s.load(sin.as_ptr().add(i)));
                        let d = s.mul(d, s.splat(self.sign));
                        let (a, b) = (s.load(first.add(i)), s.load(second.add(i)));
                        s.store(first.add(i), s.sub(s.mul(a, c), s.mul(b, d)));
                        s.store(second.add(i), s.add(s.mul(b, c), s.mul(a, d)));
                    }
                    for i in whole..half {
                        let (a, b) = (*first.add(i), *second.add(i));
                        let sin = self.sign * sin[i];
                        *first.add(i) = a * cos[i] - b * sin;
                        *second.add(i) = b * cos[i] + a * sin;
                    }
                }
            }
        }
    }
}
