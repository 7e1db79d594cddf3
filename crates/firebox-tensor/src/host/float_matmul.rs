//! Products of floats: rows times panels.
//!
//! Every output is summed in blocks of [`BLOCK_DEPTH`] inputs (or pairs of them): the products of a
//! block are added one after the other, the blocks to what is there, whatever the number of rows and
//! threads. A chain of a few hundred roundings errs less than one of thousands.
//!
//! Where there are many rows, both factors are brought near: the left one is laid out once, for all
//! threads, a panel of the right one by the task that goes over it.
//!
//! Source: Goto and van de Geijn (2008), <https://doi.org/10.1145/1356052.1356053>.

#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one result through a pointer"
)]

use std::cell::RefCell;
use std::ops::Range;

use super::dense_panel::{Multiplied, StridedPanel};
use super::float_panel::{BlockWeights, FloatPanel, FloatWeights, PanelCopy};
use super::float_tile::{Depth, Left, Out, tile_rows};
use super::gemm::{
    FEW_ROWS, Product, TileTask, for_each_task, for_each_task_of, panel_width, with_panel,
};
use super::left_rows::{LaidOut, LeftRows};
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::simd::{Kernel, Simd, dispatch};

/// Inputs (or pairs) that a block spans: with 32 outputs, 24 KiB of a panel stay in the first cache. A
/// multiple of every format's block.
pub(crate) const BLOCK_DEPTH: usize = 192;

/// The most rows and panels of a task: a block of the rows' inputs and the outputs stay in a second
/// cache of a megabyte.
const TASK: [usize; 2] = if cfg!(test) { [36, 2] } else { [512, 4] };

/// Rows of the left factor that are laid out at a time, whole tiles of every level, and values of it,
/// about.
const BAND_ROWS: usize = if cfg!(test) { 84 } else { 6144 };
const BAND_VALUES: usize = if cfg!(test) { 32 << 10 } else { 2 << 20 };

/// From so many rows of a tile on, half of them and twice the panels load less for a product: 10 times
/// for 24 instead of 14. The registers of the other levels do not hold such a tile.
const WIDE_FROM: usize = 12;

thread_local! {
    /// The left factor, laid out.
    static LAID_OUT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
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

/// Rows or columns times weights of floats, `depth` deep.
pub(crate) fn float_product<W: FloatWeights>(
    level: SimdLevel,
    left: LeftRows<'_, W::Value>,
    depth: usize,
    weights: &W,
    result: &Product,
) {
    if let LeftRows::Rows(x) = left
        && result.n_rows <= FEW_ROWS
    {
        for_each_task(level, result, |rows, panels| {
            let task = FewRows {
                x: &x[rows.start * depth..rows.end * depth],
                depth,
                weights,
                rows,
                panels,
                result,
            };
            dispatch(level, task);
        });
        return;
    }
    many_rows_product(level, left, depth, weights, result);
}

/// The same, however few the rows are.
pub(crate) fn many_rows_product<W: BlockWeights>(
    level: SimdLevel,
    left: LeftRows<'_, W::Value>,
    depth: usize,
    weights: &W,
    result: &Product,
) {
    let mut room = LAID_OUT.take();
    for first in (0..result.n_rows).step_by(BAND_ROWS) {
        let rows = first..result.n_rows.min(first + BAND_ROWS);
        rows_product(level, left, rows, depth, weights, result, &mut room);
    }
    LAID_OUT.set(room);
}

/// Rows `rows` of [`many_rows_product`].
fn rows_product<W: BlockWeights>(
    level: SimdLevel,
    left: LeftRows<'_, W::Value>,
    rows: Range<usize>,
    depth: usize,
    weights: &W,
    result: &Product,
    room: &mut Vec<u32>,
) {
    let shape = [result.n_rows, depth];
    let result = result.rows(rows.clone());
    let n_blocks = BAND_VALUES / (BLOCK_DEPTH * rows.len());
    let band_depth = n_blocks.max(1) * BLOCK_DEPTH;
    for first in (0..depth).step_by(band_depth) {
        let band = first..depth.min(first + band_depth);
        let left = LaidOut::new(level, left, shape, rows.clone(), band.clone(), room);
        for_each_task_of(TASK, level, &result, |rows, panels| {
            let task = ManyRows {
                left,
                band: band.clone(),
                weights,
                rows,
                panels,
                result: &result,
            };
            dispatch(level, task);
        });
    }
}

/// As [`float_product`] for few rows, on this thread alone: for a product that is a part of a task.
///
/// # Panics
/// When the rows are not few.
pub(crate) fn few_rows_product_alone<W: FloatWeights>(
    level: SimdLevel,
    x: &[W::Value],
    depth: usize,
    weights: &W,
    result: &Product,
) {
    assert!(result.n_rows <= FEW_ROWS, "few rows");
    let task = FewRows {
        x: &x[..result.n_rows * depth],
        depth,
        weights,
        rows: 0..result.n_rows,
        panels: 0..result.n_out.div_ceil(panel_width(level)),
        result,
    };
    dispatch(level, task);
}

/// What a block of inputs is added to.
pub(crate) fn start_of(result: &Product, first: usize) -> Start {
    match first {
        0 => result.start,
        _ => Start::Accumulate,
    }
}

/// Rows as they lie: each panel is read once.
struct FewRows<'a, W: FloatWeights> {
    /// The task's rows.
    x: &'a [W::Value],
    depth: usize,
    weights: &'a W,
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
}

impl<W: FloatWeights> Kernel for FewRows<'_, W> {
    type Output = ();
    const MULTIPLIES_BF16: bool = W::MULTIPLIES_BF16;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for index in self.panels {
            for first in (0..self.depth).step_by(BLOCK_DEPTH) {
                let n = BLOCK_DEPTH.min(self.depth - first);
                // SAFETY: the weights have this panel, the rows these inputs, and this part of the
                // result is this task's.
                unsafe {
                    let task = RowsAsTheyLie {
                        x: self.x[first..].as_ptr(),
                        first_row: self.rows.start,
                        stride: self.depth,
                        panel: self.weights.panel(s, index),
                        depth: Depth { first, n },
                    };
                    let start = start_of(self.result, first);
                    with_panel(s, self.result, self.rows.clone(), index, start, &task);
                }
            }
        }
    }
}

/// Some rows over a block of one panel.
struct RowsAsTheyLie<P, X> {
    /// The block's inputs of row `first_row`.
    x: *const X,
    first_row: usize,
    stride: usize,
    panel: P,
    depth: Depth,
}

impl<S: Simd, P: FloatPanel<S>> TileTask<S> for RowsAsTheyLie<P, P::Value> {
    #[inline(always)]
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start) {
        // SAFETY: these rows of the left factor and of the result, says the caller.
        unsafe {
            let left = Left {
                values: self.x.add((rows.start - self.first_row) * self.stride),
                row_stride: self.stride,
                depth_stride: 1,
            };
            tile_rows(s, rows.len(), left, [self.panel], self.depth, out, start);
        }
    }
}

/// Rows that are laid out.
struct ManyRows<'a, W: BlockWeights> {
    left: LaidOut<'a, W::Value>,
    /// Inputs that are laid out.
    band: Range<usize>,
    weights: &'a W,
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
}

impl<W: BlockWeights> Kernel for ManyRows<'_, W> {
    type Output = ();
    const MULTIPLIES_BF16: bool = W::MULTIPLIES_BF16;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = 2 * S::LANES;
        let n_whole = self.result.n_out / width;
        let mut copies = [PanelCopy::new(), PanelCopy::new()];
        for first in self.band.clone().step_by(BLOCK_DEPTH) {
            let inputs = first..self.band.end.min(first + BLOCK_DEPTH);
            let rows = RowsLaidOut {
                left: self.left.block(first - self.band.start, self.rows.start),
                depth: inputs.len(),
            };
            let start = start_of(self.result, first);
            let mut index = self.panels.start;
            while index < self.panels.end {
                let two = S::FLOAT_ROWS >= WIDE_FROM && index + 2 <= self.panels.end.min(n_whole);
                let [copy, next_copy] = &mut copies;
                // SAFETY: the weights have these panels, `rows` are the task's, and this part of the
                // result is this task's.
                unsafe {
                    let panel = self.weights.block(s, index, inputs.clone(), copy);
                    if two {
                        let next = self.weights.block(s, index + 1, inputs.clone(), next_copy);
                        let out = self.result.at(self.rows.start, index * width);
                        rows.over(s, 0..self.rows.len(), [panel, next], out, start);
                    } else {
                        let first_row = self.rows.start;
                        let task = OverPanel {
                            rows,
                            first_row,
                            panel,
                        };
                        with_panel(s, self.result, self.rows.clone(), index, start, &task);
                    }
                }
                index += if two { 2 } else { 1 };
            }
        }
    }
}

/// A block of inputs of rows that are laid out.
#[derive(Clone, Copy)]
struct RowsLaidOut<X> {
    /// The first row, with which a tile begins.
    left: *const X,
    depth: usize,
}

impl<X: Multiplied> RowsLaidOut<X> {
    /// Rows `rows`, counted from the first one, over panels side by side.
    ///
    /// # Safety
    /// There are such rows, the panels have the inputs, and `out` is good for two vectors a panel of
    /// each row.
    #[inline(always)]
    unsafe fn over<S: Simd, const N: usize>(
        &self,
        s: S,
        rows: Range<usize>,
        panels: [StridedPanel<X>; N],
        out: Out,
        start: Start,
    ) {
        let depth = Depth {
            first: 0,
            n: self.depth,
        };
        let mut row = rows.start;
        while row < rows.end {
            let lane = row % S::FLOAT_ROWS;
            let n = (S::FLOAT_ROWS - lane).min(rows.end - row);
            // SAFETY: rows of one tile of the left factor, and of the result, says the caller.
            unsafe {
                let left = Left {
                    values: self.left.add((row - lane) * self.depth + lane),
                    row_stride: 1,
                    depth_stride: S::FLOAT_ROWS,
                };
                let values = out.values.add((row - rows.start) * out.stride);
                tile_rows(s, n, left, panels, depth, Out { values, ..out }, start);
            }
            row += n;
        }
    }
}

/// Rows that are laid out over a block of one panel.
struct OverPanel<X> {
    rows: RowsLaidOut<X>,
    first_row: usize,
    panel: StridedPanel<X>,
}

impl<S: Simd, X: Multiplied> TileTask<S> for OverPanel<X> {
    #[inline(always)]
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start) {
        let rows = rows.start - self.first_row..rows.end - self.first_row;
        // SAFETY: says the caller.
        unsafe { self.rows.over(s, rows, [self.panel], out, start) }
    }
}
