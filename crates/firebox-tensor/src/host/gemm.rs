//! Rows times panels, on all threads.
//!
//! Few rows (decoding): each thread reads its own panels once, and all rows go over a panel while
//! it is in the cache. Many rows (prefill, training): tasks are blocks of rows and ranges of panels;
//! the rows are copied so that the innermost loop reads them one after the other.
//!
//! Source: Goto and van de Geijn (2008), <https://doi.org/10.1145/1356052.1356053>.

#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one result through a pointer"
)]

use std::cell::RefCell;
use std::ops::Range;

use super::activations::QuantizedRows;
use super::float_panel::FloatWeights;
use super::float_tile::{self, Depth, Left, Out};
use super::int_panel::IntCodes;
use super::int_tile::{self, IntLeft};
use super::level::SimdLevel;
use super::panel_matrix::{Destination, Start};
use super::parallel::{SharedMut, for_each, n_threads};
use super::simd::{Kernel, Simd, dispatch};

/// Up to this many rows are few.
const FEW_ROWS: usize = 24;

/// Inputs that a block of copied rows spans: with 32 outputs, 24 KiB of a panel stay in the first
/// cache. A multiple of every format's block.
const BLOCK_DEPTH: usize = 192;

/// Rows of a block, about: their copies stay in the second cache.
const BLOCK_ROWS: usize = 120;

/// Ranges of panels for each thread, so that one that is late can be helped.
const TASKS_PER_THREAD: usize = 4;

/// The most rows and outputs of a tile.
const MAX_TILE: usize = 12 * 32;

thread_local! {
    /// Copied rows of a block.
    static COPIED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Outputs of a panel.
pub(crate) fn panel_width(level: SimdLevel) -> usize {
    match level {
        SimdLevel::Avx512 => 32,
        SimdLevel::Avx2 | SimdLevel::Portable => 16,
    }
}

/// `x` `[rows, n_in]` times weights of floats.
pub(crate) fn float_matmul<W: FloatWeights>(
    level: SimdLevel,
    x: &[f32],
    n_in: usize,
    weights: &W,
    out: Destination<'_>,
) {
    let result = Product::new(out);
    for_each_task(level, &result, |rows, panels| {
        let task = FloatTask {
            x,
            n_in,
            weights,
            rows,
            panels,
            result: &result,
        };
        dispatch(level, task);
    });
}

/// Quantized rows times weights of integers.
pub(crate) fn int_matmul<C: IntCodes>(
    level: SimdLevel,
    x: &QuantizedRows,
    n_in: usize,
    blocks: &[u8],
    out: Destination<'_>,
) {
    let result = Product::new(out);
    for_each_task(level, &result, |rows, panels| {
        let task = IntTask::<C> {
            left: IntLeft::new(x, n_in),
            panel_bytes: C::block_bytes(panel_width(level) / 2)
                * (n_in / super::activations::BLOCK),
            blocks,
            rows,
            panels,
            result: &result,
            codes: std::marker::PhantomData,
        };
        dispatch(level, task);
    });
}

/// A [`Destination`] that tasks share; each writes its own rows and panels.
struct Product {
    y: SharedMut<f32>,
    stride: usize,
    n_rows: usize,
    n_out: usize,
    start: Start,
}

impl Product {
    fn new(out: Destination<'_>) -> Self {
        assert!(
            out.y.len() >= (out.n_rows - 1) * out.stride + out.n_out,
            "the result is too short"
        );
        Self {
            y: SharedMut::new(out.y),
            stride: out.stride,
            n_rows: out.n_rows,
            n_out: out.n_out,
            start: out.start,
        }
    }
}

/// Cuts the work and hands it out: `work(rows, panels)`.
fn for_each_task(
    level: SimdLevel,
    result: &Product,
    work: impl Fn(Range<usize>, Range<usize>) + Sync,
) {
    let (n_rows, n_panels) = (result.n_rows, result.n_out.div_ceil(panel_width(level)));
    let few = n_rows <= FEW_ROWS;
    let n_blocks = if few { 1 } else { n_rows.div_ceil(BLOCK_ROWS) };
    // Whole tiles of every level, but for the last block.
    let block_rows = if few {
        n_rows
    } else {
        n_rows.div_ceil(n_blocks).next_multiple_of(12)
    };
    let n_blocks = n_rows.div_ceil(block_rows);
    let wanted = (n_threads() * TASKS_PER_THREAD).div_ceil(n_blocks);
    let range_panels = n_panels.div_ceil(wanted).max(1);
    let n_ranges = n_panels.div_ceil(range_panels);
    for_each(n_blocks * n_ranges, |task| {
        let (block, range) = (task % n_blocks, task / n_blocks);
        let rows = block * block_rows..n_rows.min((block + 1) * block_rows);
        let panels = range * range_panels..n_panels.min((range + 1) * range_panels);
        work(rows, panels);
    });
}

/// Runs `compute` on rows `rows` of panel `panel` of the result. Where the result ends inside the
/// panel, it computes into a full-width copy.
///
/// # Safety
/// No other thread touches this part of the result; `compute` writes no more than `rows` rows of
/// one panel.
#[inline(always)]
unsafe fn with_panel<S: Simd, T: TileTask<S>>(
    s: S,
    result: &Product,
    rows: Range<usize>,
    panel: usize,
    start: Start,
    task: &T,
) {
    let width = 2 * S::LANES;
    let first = panel * width;
    let n_valid = width.min(result.n_out - first);
    // SAFETY: rows and outputs of the result, which is long enough.
    unsafe {
        let values = result.y.ptr().add(rows.start * result.stride + first);
        if n_valid == width {
            let stride = result.stride;
            return task.tile(s, rows, Out { values, stride }, start);
        }
        let mut row = rows.start;
        while row < rows.end {
            let n = 12.min(rows.end - row);
            let mut copy = [0.0_f32; MAX_TILE];
            let values = values.add((row - rows.start) * result.stride);
            for i in 0..n {
                let from = values.add(i * result.stride);
                std::ptr::copy_nonoverlapping(from, copy.as_mut_ptr().add(i * width), n_valid);
            }
            let out = Out {
                values: copy.as_mut_ptr(),
                stride: width,
            };
            task.tile(s, row..row + n, out, start);
            for i in 0..n {
                let to = values.add(i * result.stride);
                std::ptr::copy_nonoverlapping(copy.as_ptr().add(i * width), to, n_valid);
            }
            row += n;
        }
    }
}

/// What [`with_panel`] runs.
trait TileTask<S: Simd> {
    /// # Safety
    /// `out` is good for the rows, two vectors wide.
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start);
}

struct FloatTask<'a, W> {
    x: &'a [f32],
    n_in: usize,
    weights: &'a W,
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
}

/// Rows as they lie, or copied, over one panel.
struct FloatPanelTask<P> {
    /// Where row `first_row` begins.
    left: *const f32,
    first_row: usize,
    copied: bool,
    row_width: usize,
    panel: P,
    depth: Depth,
}

impl<S: Simd, P: super::float_panel::FloatPanel<S>> TileTask<S> for FloatPanelTask<P> {
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
    unsafe fn panels<S: Simd>(&self, s: S, left: *const f32, copied: bool, depth: Depth) {
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
                    row_width: self.n_in,
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

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = &self.x[self.rows.start * self.n_in..self.rows.end * self.n_in];
        if self.result.n_rows <= FEW_ROWS {
            let depth = Depth {
                first: 0,
                n: self.n_in,
            };
            // SAFETY: `x` is the task's rows.
            return unsafe { self.panels(s, x.as_ptr(), false, depth) };
        }
        let mut copied = COPIED.take();
        for first in (0..self.n_in).step_by(BLOCK_DEPTH) {
            let n = BLOCK_DEPTH.min(self.n_in - first);
            copy_rows(x, self.n_in, first..first + n, S::FLOAT_ROWS, &mut copied);
            // SAFETY: `copied` holds the task's rows.
            unsafe { self.panels(s, copied.as_ptr(), true, Depth { first, n }) };
        }
        COPIED.set(copied);
    }
}

/// `[rows, n_in]` to `[rows / tile, depth, tile]`, the last tile filled up with what was there.
#[inline(always)]
fn copy_rows(x: &[f32], n_in: usize, depth: Range<usize>, tile: usize, copied: &mut Vec<f32>) {
    let (n_rows, n) = (x.len() / n_in, depth.len());
    copied.resize(n_rows.next_multiple_of(tile) * n, 0.0);
    for (rows, copied) in x.chunks(tile * n_in).zip(copied.chunks_exact_mut(tile * n)) {
        for (i, row) in rows.chunks_exact(n_in).enumerate() {
            for (k, value) in row[depth.clone()].iter().enumerate() {
                copied[k * tile + i] = *value;
            }
        }
    }
}

struct IntTask<'a, C> {
    left: IntLeft,
    panel_bytes: usize,
    blocks: &'a [u8],
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
    codes: std::marker::PhantomData<C>,
}

/// All rows over one panel.
struct IntPanelTask<C> {
    left: IntLeft,
    panel: *const u8,
    codes: std::marker::PhantomData<C>,
}

impl<S: Simd, C: IntCodes> TileTask<S> for IntPanelTask<C> {
    #[inline(always)]
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start) {
        // SAFETY: rows of the left factor and of the result, says the caller.
        unsafe {
            let left = self.left.at_row(rows.start);
            int_tile::tile_rows::<S, C>(s, rows.len(), left, self.panel, out, start);
        }
    }
}

impl<C: IntCodes> Kernel for IntTask<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for index in self.panels {
            let panel = &self.blocks[index * self.panel_bytes..][..self.panel_bytes];
            let task = IntPanelTask::<C> {
                left: self.left,
                panel: panel.as_ptr(),
                codes: std::marker::PhantomData,
            };
            // SAFETY: this part of the result is this task's.
            unsafe {
                with_panel(
                    s,
                    self.result,
                    self.rows.clone(),
                    index,
                    self.result.start,
                    &task,
                );
            }
        }
    }
}
