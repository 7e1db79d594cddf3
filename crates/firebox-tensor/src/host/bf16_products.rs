//! Products of two matrices of floats, both rounded to bf16 on the way, summed in f32: what a matrix
//! product under PyTorch's autocast computes, but for the rounding of its result.
//!
//! The right factor is rounded and laid out in bands of some megabytes, read from end to end and used by
//! all rows while it is in the cache. (Brought near a block at a time, as in f32, it comes from memory in
//! pieces of two cache lines: a step of training was up to a third slower.)

#![expect(unsafe_code, reason = "threads write disjoint parts of one buffer")]

use std::cell::RefCell;
use std::ops::Range;

use super::aligned::AlignedBuffer;
use super::bf16_dot::{RowPart, n_pairs, pair_product, pair_row};
use super::dense_panel::{Panels, RowMajor};
use super::f32_products::written;
use super::float_matmul::start_of;
use super::gemm::{Product, panel_width};
use super::left_rows::LeftRows;
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::parallel::{SharedMut, for_each, for_each_rows};
use super::simd::{Kernel, Simd, dispatch};
use super::stored::Stored;
use super::turn::turn_rows;

/// Bytes of a band of either factor, about; few in tests, so that there are several.
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

/// `x Wᵀ`, `[rows, out]`.
///
/// # Shapes
/// `sizes` `[rows, out, depth]`, `x` `[rows, depth]`, `w` `[out, depth]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn bf16_matmul_transposed<E: Stored>(
    level: SimdLevel,
    x: &[f32],
    w: &[E],
    sizes: [usize; 3],
) -> Vec<f32> {
    check(x, w, sizes);
    let [_, _, depth] = sizes;
    written(sizes, |result| {
        let (width, n_pairs) = (panel_width(level), n_pairs(depth));
        let band_rows = (BAND_BYTES / (4 * n_pairs * width)).max(1) * width;
        let mut scratch = SCRATCH.take();
        let mut left = std::mem::take(&mut scratch.left);
        let rows = RowPart {
            x,
            width: depth,
            columns: 0..depth,
        };
        rows.pair(level, n_pairs, &mut left);
        for (band, w) in w.chunks(band_rows * depth).enumerate() {
            let n_band = w.len() / depth;
            let panels = scratch.right(n_band.next_multiple_of(width) * n_pairs);
            lay_out(level, w, depth, panels);
            let weights = Panels {
                values: &*panels,
                n_in: n_pairs,
            };
            let first = band * band_rows;
            let result = result.columns(first..first + n_band);
            pair_product(level, LeftRows::Rows(&left), n_pairs, &weights, &result);
        }
        scratch.left = left;
        SCRATCH.set(scratch);
    })
}

/// `x B`, `[rows, n]`.
///
/// # Shapes
/// `sizes` `[rows, n, depth]`, `x` `[rows, depth]`, `b` `[depth, n]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn bf16_matmul<E: Stored>(
    level: SimdLevel,
    x: &[f32],
    b: &[E],
    sizes: [usize; 3],
) -> Vec<f32> {
    check(x, b, sizes);
    let [_, n, depth] = sizes;
    written(sizes, |result| {
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
            pair_rows(level, &b[band.start * n..band.end * n], n, 0..n, right);
            let result = result.starting(start_of(result, first));
            apart_product(level, LeftRows::Rows(&left), right, n_pairs, &result);
        }
        scratch.left = left;
        SCRATCH.set(scratch);
    })
}

/// `aᵀ b`, `[m, n]`.
///
/// # Shapes
/// `sizes` `[m, n, depth]`, `a` `[depth, m]`, `b` `[depth, n]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn bf16_outer(level: SimdLevel, a: &[f32], b: &[f32], sizes: [usize; 3]) -> Vec<f32> {
    check(a, b, sizes);
    written(sizes, |result| outer_into(level, a, b, sizes, result))
}

/// `c += aᵀ b`.
///
/// # Shapes
/// As [`bf16_outer`]; `c` `[m, n]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn bf16_add_outer(
    level: SimdLevel,
    a: &[f32],
    b: &[f32],
    sizes: [usize; 3],
    c: &mut [f32],
) {
    check(a, b, sizes);
    let [m, n, depth] = sizes;
    assert_eq!(c.len(), m * n, "values of the result");
    if m * n * depth > 0 {
        let result = Product::new(c, n, [m, n], Start::Accumulate);
        outer_into(level, a, b, sizes, &result);
    }
}

fn check<E>(left: &[f32], right: &[E], [m, n, depth]: [usize; 3]) {
    assert_eq!(left.len(), m * depth, "values of the left factor");
    assert_eq!(right.len(), depth * n, "values of the right factor");
}

fn outer_into(level: SimdLevel, a: &[f32], b: &[f32], [m, n, depth]: [usize; 3], result: &Product) {
    let n_pairs = n_pairs(depth);
    let band_columns = (BAND_BYTES / (4 * n_pairs)).max(1);
    let mut scratch = SCRATCH.take();
    let mut left = std::mem::take(&mut scratch.left);
    let right = scratch.right(n_pairs * n);
    pair_rows(level, b, n, 0..n, right);
    for first in (0..m).step_by(band_columns) {
        let band = first..m.min(first + band_columns);
        left.resize(n_pairs * band.len(), 0);
        pair_rows(level, a, m, band.clone(), &mut left);
        let result = result.rows(band);
        apart_product(level, LeftRows::Columns(&left), right, n_pairs, &result);
    }
    scratch.left = left;
    SCRATCH.set(scratch);
}

/// Rows or columns of pairs times rows of pairs, `[n_pairs, n]`, whose panels lie apart.
fn apart_product(
    level: SimdLevel,
    left: LeftRows<'_, u32>,
    right: &[u32],
    n_pairs: usize,
    result: &Product,
) {
    let weights = RowMajor::new(right, result.n_out, panel_width(level));
    pair_product(level, left, n_pairs, &weights, result);
}

/// Pairs of neighbouring rows of some columns of `x`, `[rows, width]`: `[pairs, columns]`; an odd last
/// row is paired with zeros.
fn pair_rows<E: Stored>(
    level: SimdLevel,
    x: &[E],
    width: usize,
    columns: Range<usize>,
    pairs: &mut [u32],
) {
    let pairs = SharedMut::new(pairs);
    for_each_rows(n_pairs(x.len() / width), 2 * columns.len(), |of_pairs| {
        let kernel = PairNeighbours {
            x,
            width,
            columns: columns.clone(),
            of_pairs,
            pairs,
        };
        dispatch(level, kernel);
    });
}

struct PairNeighbours<'a, E> {
    x: &'a [E],
    width: usize,
    columns: Range<usize>,
    of_pairs: Range<usize>,
    pairs: SharedMut<u32>,
}

impl<E: Stored> Kernel for PairNeighbours<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let n = self.columns.len();
        for pair in self.of_pairs {
            // SAFETY: the output has this row, and it is this task's alone.
            let to = unsafe { std::slice::from_raw_parts_mut(self.pairs.ptr().add(pair * n), n) };
            let (low, rest) = self.x[2 * pair * self.width..].split_at(self.width);
            let low = &low[self.columns.clone()];
            match rest.get(self.columns.clone()) {
                Some(high) => {
                    for ((to, low), high) in to.iter_mut().zip(low).zip(high) {
                        *to = low.bf16_bits() | high.bf16_bits() << 16;
                    }
                }
                None => {
                    for (to, low) in to.iter_mut().zip(low) {
                        *to = low.bf16_bits();
                    }
                }
            }
        }
    }
}

/// Rows of `w`, `[rows, depth]`, as panels of pairs, `[panels, pairs, width]`.
fn lay_out<E: Stored>(level: SimdLevel, w: &[E], depth: usize, panels: &mut [u32]) {
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

struct LayOutPanel<'a, E> {
    rows: &'a [E],
    depth: usize,
    width: usize,
    panel: SharedMut<u32>,
}

impl<E: Stored> Kernel for LayOutPanel<'_, E> {
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
