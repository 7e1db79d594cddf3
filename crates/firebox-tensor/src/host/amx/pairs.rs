//! Products of bf16 pairs on tiles: 16 rows by 16 columns by 32 inputs in one instruction.
//!
//! Panels of pairs lie in memory as the right tile wants them: 16 pairs of inputs, each with a pair
//! for every column. Rows of pairs are the left tile. Two by two tiles of sums stay in the registers
//! while the depth goes by.
//!
//! Every output is summed over tiles of 32 inputs in order, and inside a tile as the instruction
//! does, wherever its row lies: a row has the same bits in any batch. The instruction rounds nothing
//! in between but flushes what is subnormal.

#![expect(unsafe_code, reason = "tiles are loaded and stored through pointers")]

use std::arch::asm;
use std::cell::{Cell, RefCell};
use std::ops::Range;

use super::super::dense_panel::StridedPanel;
use super::super::float_matmul::{BLOCK_DEPTH, start_of};
use super::super::float_panel::{BlockWeights, PanelCopy};
use super::super::float_tile::Out;
use super::super::gemm::{Product, TileTask, for_each_task_of, with_panel};
use super::super::left_rows::LeftRows;
use super::super::level::SimdLevel;
use super::super::panel_matrix::Start;
use super::super::simd::{Kernel, Simd, dispatch};
use super::super::turn::turn_rows;
use super::{ROWS, TileConfig, is_available, release};

/// The most rows and panels of a task: a block of the rows' inputs stays in the second cache.
const TASK: [usize; 2] = if cfg!(test) {
    [36, 2]
} else {
    [512, usize::MAX]
};

/// Pairs of inputs of a tile.
const PAIRS: usize = 16;

thread_local! {
    /// Rows of a block, turned from columns.
    static TURNED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// `y = x Wᵀ` or `y += x Wᵀ` of pairs, `n_pairs` deep. Panels that have to be copied are brought near in
/// blocks of [`BLOCK_DEPTH`], each of which but the first reads and writes the sums once more.
pub(crate) fn pair_product<W: BlockWeights<Value = u32>>(
    left: LeftRows<'_, u32>,
    n_pairs: usize,
    weights: &W,
    result: &Product,
) {
    debug_assert!(is_available());
    for_each_task_of(TASK, SimdLevel::Amx, result, |rows, panels| {
        let task = Task {
            left,
            n_pairs,
            weights,
            rows,
            panels,
            result,
        };
        dispatch(SimdLevel::Amx, task);
    });
}

struct Task<'a, W> {
    left: LeftRows<'a, u32>,
    n_pairs: usize,
    weights: &'a W,
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
}

impl<W: BlockWeights<Value = u32>> Kernel for Task<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut turned = TURNED.take();
        let mut copy = PanelCopy::new();
        let tiles = Tiles::default();
        let block_pairs = match W::LIE_NEAR {
            true => self.n_pairs,
            false => BLOCK_DEPTH,
        };
        for first in (0..self.n_pairs).step_by(block_pairs) {
            let block = first..self.n_pairs.min(first + block_pairs);
            let (left, left_stride) = self.left(s, &block, &mut turned);
            let start = start_of(self.result, first);
            for index in self.panels.clone() {
                // SAFETY: the weights have this panel and these inputs; tasks have rows and panels
                // of their own.
                unsafe {
                    let task = PanelTask {
                        tiles: &tiles,
                        left,
                        left_stride,
                        first_row: self.rows.start,
                        n_pairs: block.len(),
                        panel: self.weights.block(s, index, block.clone(), &mut copy),
                    };
                    with_panel(s, self.result, self.rows.clone(), index, start, &task);
                }
            }
        }
        TURNED.set(turned);
    }
}

impl<W> Task<'_, W> {
    /// Where the block's pairs of the task's rows lie, and from one row to the next.
    #[inline(always)]
    fn left<S: Simd>(
        &self,
        s: S,
        block: &Range<usize>,
        turned: &mut Vec<u32>,
    ) -> (*const u32, usize) {
        match self.left {
            LeftRows::Rows(x) => {
                let first = self.rows.start * self.n_pairs + block.start;
                (x[first..].as_ptr(), self.n_pairs)
            }
            LeftRows::Columns(x) => {
                let m = x.len() / self.n_pairs;
                let stride = block.len().next_multiple_of(PAIRS);
                turned.resize(self.rows.len() * stride, 0);
                let columns: &[f32] = bytemuck::cast_slice(&x[block.start * m..block.end * m]);
                // SAFETY: room for as many pairs of every row.
                unsafe {
                    let to = turned.as_mut_ptr().cast(); // The same bits, which are moved.
                    turn_rows(s, columns, m, self.rows.clone(), stride, to);
                }
                (turned.as_ptr(), stride)
            }
        }
    }
}

/// Rows over a block of one panel.
struct PanelTask<'a> {
    tiles: &'a Tiles,
    /// Where row `first_row` begins.
    left: *const u32,
    left_stride: usize,
    first_row: usize,
    n_pairs: usize,
    panel: StridedPanel<u32>,
}

impl<S: Simd> TileTask<S> for PanelTask<'_> {
    #[inline(always)]
    unsafe fn tile(&self, _: S, rows: Range<usize>, out: Out, start: Start) {
        let whole = self.n_pairs / PAIRS * PAIRS;
        if whole > 0 {
            // SAFETY: says the caller.
            unsafe { self.block(0, whole, rows.clone(), out, start) };
        }
        if whole < self.n_pairs {
            let start = match whole {
                0 => start,
                _ => Start::Accumulate,
            };
            // SAFETY: as above.
            unsafe { self.block(whole, self.n_pairs - whole, rows, out, start) };
        }
    }
}

impl PanelTask<'_> {
    /// Some rows over `n` pairs from `first` on: whole tiles, or less than one.
    ///
    /// # Safety
    /// As [`TileTask::tile`].
    #[inline(always)]
    unsafe fn block(&self, first: usize, n: usize, rows: Range<usize>, out: Out, start: Start) {
        let mut row = rows.start;
        while row < rows.end {
            let n_rows = (2 * ROWS).min(rows.end - row);
            let upper = n_rows.min(ROWS);
            self.tiles.configure(upper, n_rows - upper, n.min(PAIRS));
            // SAFETY: these rows and pairs of the factors and of the result, says the caller.
            unsafe {
                let left = self
                    .left
                    .add((row - self.first_row) * self.left_stride + first);
                let right = self.panel.values.add(first * self.panel.stride);
                let values = out.values.add((row - rows.start) * out.stride);
                let out = Out { values, ..out };
                self.product(n_rows, n.div_ceil(PAIRS), [left, right], out, start);
            }
            row += n_rows;
        }
    }

    /// Up to 32 rows over `n` tiles of the depth.
    ///
    /// # Safety
    /// The tiles are laid out for these rows and lie inside their factors; `out` is good for the rows,
    /// two vectors wide.
    #[inline(always)]
    unsafe fn product(
        &self,
        n_rows: usize,
        n: usize,
        [left, right]: [*const u32; 2],
        out: Out,
        start: Start,
    ) {
        let adds = usize::from(start == Start::Accumulate);
        let (left_step, right_step) = (4 * self.left_stride, 4 * self.panel.stride);
        let result_step = 4 * out.stride;
        // SAFETY: the level has tiles; every tile lies inside its factor, says the caller. Lower
        // tiles are touched only where there are rows for them.
        unsafe {
            if n_rows <= ROWS {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "test {adds}, {adds}",
                    "jz 2f",
                    "tileloadd tmm0, [{c} + {sc}]",
                    "tileloadd tmm1, [{c} + {sc} + 64]",
                    "2:",
                    "tileloadd tmm4, [{a} + {sa}]",
                    "tileloadd tmm6, [{b} + {sb}]",
                    "tileloadd tmm7, [{b} + {sb} + 64]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "add {a}, 64",
                    "add {b}, {b_step}",
                    "dec {n}",
                    "jnz 2b",
                    "tilestored [{c} + {sc}], tmm0",
                    "tilestored [{c} + {sc} + 64], tmm1",
                    adds = in(reg) adds,
                    c = in(reg) out.values,
                    sc = in(reg) result_step,
                    a = inout(reg) left => _, sa = in(reg) left_step,
                    b = inout(reg) right => _, sb = in(reg) right_step,
                    b_step = in(reg) PAIRS * right_step,
                    n = inout(reg) n => _,
                    out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            } else {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "test {adds}, {adds}",
                    "jz 2f",
                    "tileloadd tmm0, [{c} + {sc}]",
                    "tileloadd tmm1, [{c} + {sc} + 64]",
                    "tileloadd tmm2, [{d} + {sc}]",
                    "tileloadd tmm3, [{d} + {sc} + 64]",
                    "2:",
                    "tileloadd tmm4, [{a} + {sa}]",
                    "tileloadd tmm6, [{b} + {sb}]",
                    "tileloadd tmm7, [{b} + {sb} + 64]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{e} + {sa}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {a}, 64",
                    "add {e}, 64",
                    "add {b}, {b_step}",
                    "dec {n}",
                    "jnz 2b",
                    "tilestored [{c} + {sc}], tmm0",
                    "tilestored [{c} + {sc} + 64], tmm1",
                    "tilestored [{d} + {sc}], tmm2",
                    "tilestored [{d} + {sc} + 64], tmm3",
                    adds = in(reg) adds,
                    c = in(reg) out.values,
                    d = in(reg) out.values.add(ROWS * out.stride),
                    sc = in(reg) result_step,
                    a = inout(reg) left => _,
                    e = inout(reg) left.add(ROWS * self.left_stride) => _,
                    sa = in(reg) left_step,
                    b = inout(reg) right => _, sb = in(reg) right_step,
                    b_step = in(reg) PAIRS * right_step,
                    n = inout(reg) n => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    }
}

/// How the tiles are laid out at the moment. Laying them out waits for all that was begun before.
#[derive(Default)]
struct Tiles {
    /// Upper rows, lower rows and pairs, a byte each: compared as one number.
    current: Cell<usize>,
}

impl Tiles {
    /// Sums in tiles 0 to 3, rows in 4 and 5, a panel's halves in 6 and 7: for so many upper rows, lower
    /// rows and pairs of inputs.
    #[inline(always)]
    fn configure(&self, upper: usize, lower: usize, pairs: usize) {
        let shape = upper | lower << 8 | pairs << 16;
        if self.current.replace(shape) != shape {
            Self::load(upper, lower, pairs);
        }
    }

    #[inline(never)]
    fn load(upper: usize, lower: usize, pairs: usize) {
        let config = TileConfig::new([
            [upper, 64],
            [upper, 64],
            [lower, 64],
            [lower, 64],
            [upper, 4 * pairs],
            [lower, 4 * pairs],
            [pairs, 64],
            [pairs, 64],
        ]);
        config.load();
    }
}

impl Drop for Tiles {
    /// Threads are changed faster without the tiles' contents.
    fn drop(&mut self) {
        release();
    }
}
