//! Products of two f32 matrices, both rounded to bf16 on the way, summed in f32: what a matrix
//! product under PyTorch's autocast computes, but for the rounding of its result.
//!
//! The right factor is rounded and laid out in bands of some megabytes, each used by all rows while
//! it is in the cache.

#![expect(unsafe_code, reason = "threads write disjoint parts of one buffer")]

use std::cell::RefCell;
use std::ops::Range;

use super::aligned::AlignedBuffer;
use super::bf16_dot::{RowPart, bf16_bits, n_pairs, pair_row};
use super::dense_panel::{PairPanels, Panels, RowMajor};
use super::float_matmul::float_product;
use super::float_panel::FloatWeights;
use super::gemm::{Product, panel_width};
use super::left_rows::LeftRows;
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::parallel::{SharedMut, for_each, for_each_rows};
use super::simd::{Kernel, Simd, dispatch};
use super::turn::turn_rows;

/// Bytes of a band of the right factor, about; few in tests, so that there are several.
const BAND_BYTES: usize = if cfg!(test) { 4 << 10 } else { 4 << 20 };

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
    /// The rows of a panel.
    static PAIRED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Both factors in pairs.
#[derive(Default)]
struct Scratch {
    left: Vec<u32>,
    right: Option<AlignedBuffer>,
}

impl Scratch {
    /// Room for `n` pairs of the right factor.
    fn right(&mut self, n: usize) -> &mut [u32] {
        let fits = |buffer: &AlignedBuffer| buffer.n_bytes() >= 4 * n;
        if !self.right.as_ref().is_some_and(fits) {
            self.right = None; // Given back before more is taken.
        }
        let buffer = self
            .right
            .get_or_insert_with(|| AlignedBuffer::zeroed(4 * n));
        &mut buffer.values_mut()[..n]
    }
}

/// `y = x Wᵀ`.
///
/// # Shapes
/// `x` `[rows, depth]`, `w` `[out, depth]`, `y` `[rows, out]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn bf16_matmul_transposed(level: SimdLevel, x: &[f32], w: &[f32], depth: usize, y: &mut [f32]) {
    let (n_rows, n_out) = (x.len() / depth, w.len() / depth);
    let fits = x.len() == n_rows * depth && w.len() == n_out * depth && y.len() == n_rows * n_out;
    assert!(fits, "shapes that fit");
    let (width, n_pairs) = (panel_width(level), n_pairs(depth));
    let band_rows = (BAND_BYTES / (4 * n_pairs * width)).max(1) * width;
    let mut scratch = SCRATCH.take();
    let rows = RowPart {
        x,
        width: depth,
        columns: 0..depth,
    };
    rows.pair(level, n_pairs, &mut scratch.left);
    let left = std::mem::take(&mut scratch.left);
    for (band, w) in w.chunks(band_rows * depth).enumerate() {
        let n_band = w.len() / depth;
        let panels = scratch.right(n_band.next_multiple_of(width) * n_pairs);
        lay_out(level, w, depth, panels);
        let weights = Panels {
            values: &*panels,
            n_in: n_pairs,
        };
        let y = &mut y[band * band_rows..];
        let out = Product::new(y, n_out, [n_rows, n_band], Start::Zero);
        pair_product(level, LeftRows::Rows(&left), n_pairs, &weights, &out);
    }
    scratch.left = left;
    SCRATCH.set(scratch);
}

/// `y = x B`.
///
/// # Shapes
/// `x` `[rows, depth]`, `b` `[depth, n]`, `y` `[rows, n]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn bf16_matmul(level: SimdLevel, x: &[f32], b: &[f32], n: usize, y: &mut [f32]) {
    let (depth, n_rows) = (b.len() / n, y.len() / n);
    let fits = b.len() == depth * n && y.len() == n_rows * n && x.len() == n_rows * depth;
    assert!(fits, "shapes that fit");
    y.fill(0.0);
    // Even, so that pairs are the same however the depth is cut.
    let band_depth = (BAND_BYTES / (4 * n)).max(1) * 2;
    let mut scratch = SCRATCH.take();
    let mut left = std::mem::take(&mut scratch.left);
    for first in (0..depth).step_by(band_depth) {
        let band = first..depth.min(first + band_depth);
        let n_pairs = n_pairs(band.len());
        let rows = RowPart {
            x,
            width: depth,
            columns: band.clone(),
        };
        rows.pair(level, n_pairs, &mut left);
        let right = scratch.right(n_pairs * n);
        pair_rows(level, &b[band.start * n..band.end * n], n, right);
        let weights = RowMajor::new(&*right, n, panel_width(level));
        let out = Product::new(y, n, [n_rows, n], Start::Accumulate);
        pair_product(level, LeftRows::Rows(&left), n_pairs, &weights, &out);
    }
    scratch.left = left;
    SCRATCH.set(scratch);
}

/// `c += aᵀ b`.
///
/// # Shapes
/// `a` `[depth, m]`, `b` `[depth, n]`, `c` `[m, n]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn bf16_add_outer(level: SimdLevel, a: &[f32], b: &[f32], n: usize, c: &mut [f32]) {
    let (depth, m) = (b.len() / n, c.len() / n);
    let fits = b.len() == depth * n && c.len() == m * n && a.len() == depth * m;
    assert!(fits, "shapes that fit");
    let n_pairs = n_pairs(depth);
    let mut scratch = SCRATCH.take();
    let mut left = std::mem::take(&mut scratch.left);
    left.resize(n_pairs * m, 0);
    pair_rows(level, a, m, &mut left);
    let right = scratch.right(n_pairs * n);
    pair_rows(level, b, n, right);
    let weights = RowMajor::new(&*right, n, panel_width(level));
    let out = Product::new(c, n, [m, n], Start::Accumulate);
    pair_product(level, LeftRows::Columns(&left), n_pairs, &weights, &out);
    scratch.left = left;
    SCRATCH.set(scratch);
}

/// Rows (or columns) of pairs times panels of pairs: on tiles, where the level has them.
pub(crate) fn pair_product<W: PairPanels + FloatWeights<Value = u32>>(
    level: SimdLevel,
    left: LeftRows<'_, u32>,
    n_pairs: usize,
    weights: &W,
    result: &Product,
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Amx => super::amx::pair_product(left, n_pairs, weights, result),
        level => float_product(level, left, n_pairs, weights, result),
    }
}

/// Pairs of neighbouring rows of `x`, `[rows, width]`: `[pairs, width]`; an odd last row is paired
/// with zeros.
fn pair_rows(level: SimdLevel, x: &[f32], width: usize, pairs: &mut [u32]) {
    let pairs = SharedMut::new(pairs);
    for_each_rows(n_pairs(x.len() / width), 2 * width, |of_pairs| {
        let kernel = PairNeighbours {
            x,
            width,
            of_pairs,
            pairs,
        };
        dispatch(level, kernel);
    });
}

struct PairNeighbours<'a> {
    x: &'a [f32],
    width: usize,
    of_pairs: Range<usize>,
    pairs: SharedMut<u32>,
}

impl Kernel for PairNeighbours<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let width = self.width;
        for pair in self.of_pairs {
            // SAFETY: the output has this row, and it is this task's alone.
            let to = unsafe {
                std::slice::from_raw_parts_mut(self.pairs.ptr().add(pair * width), width)
            };
            let (low, rest) = self.x[2 * pair * width..].split_at(width);
            match rest.get(..width) {
                Some(high) => {
                    for ((to, low), high) in to.iter_mut().zip(low).zip(high) {
                        *to = bf16_bits(*low) | bf16_bits(*high) << 16;
                    }
                }
                None => {
                    for (to, low) in to.iter_mut().zip(low) {
                        *to = bf16_bits(*low);
                    }
                }
            }
        }
    }
}

/// Rows of `w`, `[rows, depth]`, as panels of pairs, `[panels, pairs, width]`.
fn lay_out(level: SimdLevel, w: &[f32], depth: usize, panels: &mut [u32]) {
    let (width, n_pairs) = (panel_width(level), n_pairs(depth));
    let panels = SharedMut::new(panels);
    for_each(w.len().div_ceil(width * depth), |panel| {
        let rows = &w[panel * width * depth..];
        let kernel = LayOutPanel {
            rows: &rows[..rows.len().min(width * depth)],
            depth,
            width,
            panel: panels.skip(panel * n_pairs * width),
        };
        dispatch(level, kernel);
    });
}

struct LayOutPanel<'a> {
    rows: &'a [f32],
    depth: usize,
    width: usize,
    panel: SharedMut<u32>,
}

impl Kernel for LayOutPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (width, n_pairs) = (self.width, n_pairs(self.depth));
        let mut paired = PAIRED.take();
        paired.resize(width * n_pairs, 0);
        let rows = self.rows.chunks_exact(self.depth);
        for (row, pairs) in rows.zip(paired.chunks_exact_mut(n_pairs)) {
            pair_row(row, pairs);
        }
        let bits: &[f32] = bytemuck::cast_slice(&paired); // Which are moved.
        // SAFETY: the output has this panel, and it is this task's alone: room for every row of each
        // pair.
        unsafe {
            let panel = self.panel.ptr().cast();
            turn_rows(s, bits, n_pairs, 0..n_pairs, width, panel);
        }
        PAIRED.set(paired);
    }
}
