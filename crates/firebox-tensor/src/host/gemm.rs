//! How a product of rows and panels is cut into tasks, and where its outputs go.
//!
//! Few rows (decoding): each thread reads its own panels once, and all rows go over a panel while
//! it is in the cache. Many rows (prefill, training): tasks are blocks of rows and ranges of panels.
//!
//! Source: Goto and van de Geijn (2008), <https://doi.org/10.1145/1356052.1356053>.

#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one result through a pointer"
)]

use std::ops::Range;

use super::float_tile::Out;
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::parallel::{SharedMut, for_each, n_threads};
use super::simd::Simd;

/// Up to this many rows are few.
pub(crate) const FEW_ROWS: usize = 24;

/// Rows of a block, about: their copies stay in the second cache.
const BLOCK_ROWS: usize = 120;

/// Ranges of panels for each thread, so that one that is late can be helped.
const TASKS_PER_THREAD: usize = 4;

/// The most rows of a tile, at any level; every level's tile divides it.
const TILE_ROWS: usize = 12;

/// The most outputs of a tile.
pub(crate) const TILE_WIDTH: usize = 32;

/// Outputs of a panel.
pub(crate) fn panel_width(level: SimdLevel) -> usize {
    match level {
        SimdLevel::Avx512 | SimdLevel::Avx512Bf16 | SimdLevel::Amx => 32,
        SimdLevel::Avx2 | SimdLevel::Portable => 16,
    }
}

/// Rows of a tile of floats: as many as the registers hold.
pub(crate) fn float_rows(level: SimdLevel) -> usize {
    match level {
        SimdLevel::Avx512 | SimdLevel::Avx512Bf16 | SimdLevel::Amx => 12,
        SimdLevel::Avx2 => 6,
        SimdLevel::Portable => 2,
    }
}

/// Where a product goes. Tasks share it; each writes its own rows and panels.
pub(crate) struct Product {
    y: SharedMut<f32>,
    stride: usize,
    pub(crate) n_rows: usize,
    pub(crate) n_out: usize,
    pub(crate) start: Start,
}

impl Product {
    /// Rows of `n_out` outputs at the beginning of rows of `stride` in `y`.
    ///
    /// # Panics
    /// When `y` is too short.
    pub(crate) fn new(y: &mut [f32], stride: usize, shape: [usize; 2], start: Start) -> Self {
        Self::over(SharedMut::new(y), y.len(), stride, shape, start)
    }

    /// The same, into memory without values; all of it is written.
    ///
    /// # Panics
    /// When `y` is too short.
    #[cfg(any(test, feature = "burn"))]
    pub(crate) fn unwritten(
        y: &mut [std::mem::MaybeUninit<f32>],
        stride: usize,
        shape: [usize; 2],
    ) -> Self {
        Self::over(
            SharedMut::new(y).of_values(),
            y.len(),
            stride,
            shape,
            Start::Zero,
        )
    }

    fn over(
        y: SharedMut<f32>,
        len: usize,
        stride: usize,
        [n_rows, n_out]: [usize; 2],
        start: Start,
    ) -> Self {
        assert!(
            n_out <= stride && len >= n_rows.saturating_sub(1) * stride + n_out,
            "the result is too short"
        );
        Self {
            y,
            stride,
            n_rows,
            n_out,
            start,
        }
    }

    /// Where output `output` of row `row` lies.
    ///
    /// # Safety
    /// There is such an output.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, row: usize, output: usize) -> Out {
        Out {
            // SAFETY: inside the result, says the caller.
            values: unsafe { self.y.ptr().add(row * self.stride + output) },
            stride: self.stride,
        }
    }

    /// The same, added to something else.
    #[cfg(any(test, feature = "burn"))]
    pub(crate) fn starting(&self, start: Start) -> Self {
        Self { start, ..*self }
    }

    /// Some columns of it.
    ///
    /// # Panics
    /// When there are no such columns.
    #[cfg(any(test, feature = "burn"))]
    pub(crate) fn columns(&self, columns: Range<usize>) -> Self {
        assert!(
            columns.start <= columns.end && columns.end <= self.n_out,
            "columns of the result"
        );
        Self {
            y: self.y.skip(columns.start),
            n_out: columns.len(),
            ..*self
        }
    }

    /// Some rows of it.
    ///
    /// # Panics
    /// When there are no such rows.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        assert!(
            rows.start <= rows.end && rows.end <= self.n_rows,
            "rows of the result"
        );
        Self {
            y: self.y.skip(rows.start * self.stride),
            n_rows: rows.len(),
            ..*self
        }
    }
}

/// Cuts the work and hands it out: `work(rows, panels)`.
pub(crate) fn for_each_task(
    level: SimdLevel,
    result: &Product,
    work: impl Fn(Range<usize>, Range<usize>) + Sync,
) {
    for_each_task_of([BLOCK_ROWS, usize::MAX], level, result, work);
}

/// The same with at most so many rows, about, and panels a task.
pub(crate) fn for_each_task_of(
    [max_rows, max_panels]: [usize; 2],
    level: SimdLevel,
    result: &Product,
    work: impl Fn(Range<usize>, Range<usize>) + Sync,
) {
    let (n_rows, n_panels) = (result.n_rows, result.n_out.div_ceil(panel_width(level)));
    let few = n_rows <= FEW_ROWS;
    let wanted = n_threads() * TASKS_PER_THREAD;
    // Where there are few panels, more blocks of rows.
    let n_blocks = match few {
        true => 1,
        false => {
            let enough = wanted.div_ceil(n_panels.max(1));
            n_rows
                .div_ceil(max_rows)
                .max(enough.min(n_rows.div_ceil(TILE_ROWS)))
        }
    };
    // Whole tiles of every level, but for the last block.
    let block_rows = if few {
        n_rows
    } else {
        n_rows.div_ceil(n_blocks).next_multiple_of(TILE_ROWS)
    };
    let n_blocks = n_rows.div_ceil(block_rows);
    let range_panels = n_panels
        .div_ceil(wanted.div_ceil(n_blocks))
        .clamp(1, max_panels);
    let n_ranges = n_panels.div_ceil(range_panels);
    for_each(n_blocks * n_ranges, |task| {
        let (block, range) = (task % n_blocks, task / n_blocks);
        let rows = block * block_rows..n_rows.min((block + 1) * block_rows);
        let panels = range * range_panels..n_panels.min((range + 1) * range_panels);
        work(rows, panels);
    });
}

/// Runs a task on rows `rows` of panel `panel` of the result. Where the result ends inside the panel,
/// it computes into a full-width copy.
///
/// # Safety
/// No other thread touches this part of the result; the task writes no more than these rows of one
/// panel.
#[inline(always)]
pub(crate) unsafe fn with_panel<S: Simd, T: TileTask<S>>(
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
            let n = TILE_ROWS.min(rows.end - row);
            let mut copy = [0.0_f32; TILE_ROWS * TILE_WIDTH];
            let values = values.add((row - rows.start) * result.stride);
            if start == Start::Accumulate {
                for i in 0..n {
                    let from = values.add(i * result.stride);
                    std::ptr::copy_nonoverlapping(from, copy.as_mut_ptr().add(i * width), n_valid);
                }
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
pub(crate) trait TileTask<S: Simd> {
    /// # Safety
    /// `out` is good for the rows, two vectors wide.
    unsafe fn tile(&self, s: S, rows: Range<usize>, out: Out, start: Start);
}
