//! Products of floats: rows times panels, and the gradient of a weight.
//!
//! Where there are many rows, they are copied so that the innermost loop reads them one after the
//! other. `C += Aᵀ B` is the same with the rows copied from columns.

#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one result through a pointer"
)]

use std::cell::RefCell;
use std::ops::Range;

use super::dense_panel::RowMajor;
use super::float_panel::{FloatPanel, FloatWeights};
use super::float_tile::{self, Depth, Left, Out};
use super::gemm::{FEW_ROWS, Product, TileTask, for_each_task, panel_width, with_panel};
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::simd::{Kernel, Simd, dispatch};

/// Inputs that a block of copied rows spans: with 32 outputs, 24 KiB of a panel stay in the first
/// cache. A multiple of every format's block.
const BLOCK_DEPTH: usize = 192;

thread_local! {
    /// Copied rows of a block.
    static COPIED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// `x` `[rows, n_in]` times weights of floats (`n_in` in pairs where the weights are).
pub(crate) fn float_matmul<W: FloatWeights>(
    level: SimdLevel,
    x: &[W::Value],
    n_in: usize,
    weights: &W,
    result: &Product,
) {
    float_product(level, LeftRows::Rows(x), n_in, weights, result);
}

/// `c += aᵀ b`, each output's terms added in the order of the rows.
///
/// # Shapes
/// `a` `[depth, m]`, `b` `[depth, n]`, `c` `[m, n]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn add_outer(level: SimdLevel, a: &[f32], b: &[f32], n: usize, c: &mut [f32]) {
    let depth = b.len().checked_div(n).unwrap_or(0);
    let m = a.len().checked_div(depth).unwrap_or(0);
    assert!(
        b.len() == depth * n && a.len() == depth * m && c.len() == m * n,
        "shapes that fit"
    );
    if c.is_empty() {
        return;
    }
    let weights = RowMajor::new(b, n, panel_width(level));
    let result = Product::new(c, n, [m, n], Start::Accumulate);
    float_product(level, LeftRows::Columns(a), depth, &weights, &result);
}

/// `y += x b`, each output's terms added in the order of the depth.
///
/// # Shapes
/// `x` `[rows, depth]`, `b` `[depth, n]`, `y` `[rows, n]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn add_product(level: SimdLevel, x: &[f32], b: &[f32], n: usize, y: &mut [f32]) {
    let depth = b.len().checked_div(n).unwrap_or(0);
    let n_rows = y.len().checked_div(n).unwrap_or(0);
    assert!(
        b.len() == depth * n && y.len() == n_rows * n && x.len() == n_rows * depth,
        "shapes that fit"
    );
    if y.is_empty() || depth == 0 {
        return;
    }
    let weights = RowMajor::new(b, n, panel_width(level));
    let result = Product::new(y, n, [n_rows, n], Start::Accumulate);
    float_product(level, LeftRows::Rows(x), depth, &weights, &result);
}

pub(crate) fn float_product<W: FloatWeights>(
    level: SimdLevel,
    left: LeftRows<'_, W::Value>,
    depth: usize,
    weights: &W,
    result: &Product,
) {
    for_each_task(level, result, |rows, panels| {
        let task = FloatTask {
            left,
            depth,
            weights,
            rows,
            panels,
            result,
        };
        dispatch(level, task);
    });
}

/// As [`float_product`], on this thread alone: for a product that is a part of a task.
pub(crate) fn float_product_alone<W: FloatWeights>(
    level: SimdLevel,
    left: LeftRows<'_, W::Value>,
    depth: usize,
    weights: &W,
    result: &Product,
) {
    let task = FloatTask {
        left,
        depth,
        weights,
        rows: 0..result.n_rows,
        panels: 0..result.n_out.div_ceil(panel_width(level)),
        result,
    };
    dispatch(level, task);
}

/// The left factor of a product of floats.
#[derive(Clone, Copy)]
pub(crate) enum LeftRows<'a, X> {
    /// `[rows, depth]`.
    Rows(&'a [X]),
    /// `[depth, rows]`.
    Columns(&'a [X]),
}

struct FloatTask<'a, W: FloatWeights> {
    left: LeftRows<'a, W::Value>,
    depth: usize,
    weights: &'a W,
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
}

/// Rows as they lie, or copied, over one panel.
struct FloatPanelTask<P, X> {
    /// Where row `first_row` begins.
    left: *const X,
    first_row: usize,
    copied: bool,
    row_width: usize,
    panel: P,
    depth: Depth,
}

impl<S: Simd, P: FloatPanel<S>> TileTask<S> for FloatPanelTask<P, P::Value> {
    #[inline(always)]
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start) {
        let mut row = rows.start;
        while row < rows.end {
            let index = row - self.first_row;
            // A copied tile is one run; rows as they lie can be taken all at once.
            let n = match self.copied {
                true => (S::FLOAT_ROWS - index % S::FLOAT_ROWS).min(rows.end - row),
                false => rows.end - row,
            };
            // SAFETY: rows of the left factor, and of the result, says the caller.
            unsafe {
                let left = match self.copied {
                    true => Left {
                        values: self.left.add(
                            index / S::FLOAT_ROWS * S::FLOAT_ROWS * self.depth.n
                                + index % S::FLOAT_ROWS,
                        ),
                        row_stride: 1,
                        depth_stride: S::FLOAT_ROWS,
                    },
                    false => Left {
                        values: self.left.add(index * self.row_width),
                        row_stride: self.row_width,
                        depth_stride: 1,
                    },
                };
                let out = Out {
                    values: out.values.add((row - rows.start) * out.stride),
                    ..out
                };
                float_tile::tile_rows(s, n, left, self.panel, self.depth, out, start);
            }
            row += n;
        }
    }
}

impl<W: FloatWeights> FloatTask<'_, W> {
    /// All panels over inputs `depth`, the left factor at `left`.
    ///
    /// # Safety
    /// `left` holds the task's rows, as `copied` says.
    #[inline(always)]
    unsafe fn panels<S: Simd>(&self, s: S, left: *const W::Value, copied: bool, depth: Depth) {
        let start = if depth.first == 0 {
            self.result.start
        } else {
            Start::Accumulate
        };
        for index in self.panels.clone() {
            // SAFETY: the weights have this panel, and this part of the result is this task's.
            unsafe {
                let task = FloatPanelTask {
                    left,
                    first_row: self.rows.start,
                    copied,
                    row_width: self.depth,
                    panel: self.weights.panel(s, index),
                    depth,
                };
                with_panel(s, self.result, self.rows.clone(), index, start, &task);
            }
        }
    }
}

impl<W: FloatWeights> Kernel for FloatTask<'_, W> {
    type Output = ();
    const MULTIPLIES_BF16: bool = W::MULTIPLIES_BF16;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if let LeftRows::Rows(x) = self.left
            && self.result.n_rows <= FEW_ROWS
        {
            let x = &x[self.rows.start * self.depth..self.rows.end * self.depth];
            let depth = Depth {
                first: 0,
                n: self.depth,
            };
            // SAFETY: `x` is the task's rows.
            return unsafe { self.panels(s, x.as_ptr(), false, depth) };
        }
        let mut copied = COPIED.take();
        for first in (0..self.depth).step_by(BLOCK_DEPTH) {
            let n = BLOCK_DEPTH.min(self.depth - first);
            let copied = self.copy_rows(first..first + n, S::FLOAT_ROWS, &mut copied);
            // SAFETY: `copied` holds the task's rows.
            unsafe { self.panels(s, copied.as_ptr(), true, Depth { first, n }) };
        }
        COPIED.set(copied);
    }
}

impl<W: FloatWeights> FloatTask<'_, W> {
    /// The task's rows over inputs `depth` as `[rows / tile, depth, tile]`, the last tile filled up
    /// with what was there.
    #[inline(always)]
    fn copy_rows<'a>(
        &self,
        depth: Range<usize>,
        tile: usize,
        copied: &'a mut Vec<u32>,
    ) -> &'a [W::Value] {
        let n = depth.len();
        copied.resize(self.rows.len().next_multiple_of(tile) * n, 0);
        // A value has four bytes, as a number of the buffer.
        let copied: &mut [W::Value] = bytemuck::cast_slice_mut(copied);
        for (first, copied) in self
            .rows
            .clone()
            .step_by(tile)
            .zip(copied.chunks_exact_mut(tile * n))
        {
            let rows = first..self.rows.end.min(first + tile);
            match self.left {
                LeftRows::Rows(x) => {
                    for (i, row) in rows.enumerate() {
                        let row = &x[row * self.depth..][..self.depth];
                        for (k, value) in row[depth.clone()].iter().enumerate() {
                            copied[k * tile + i] = *value;
                        }
                    }
                }
                LeftRows::Columns(a) => {
                    let n_rows = a.len() / self.depth;
                    for (k, copied) in depth.clone().zip(copied.chunks_exact_mut(tile)) {
                        copied[..rows.len()].copy_from_slice(&a[k * n_rows..][rows.clone()]);
                    }
                }
            }
        }
        copied
    }
}
