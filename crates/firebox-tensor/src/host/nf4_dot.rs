//! NF4 or FP4 weights times activations in bf16: codes are looked up as pairs of bf16, and a block's
//! scale is applied to the block's sum.
//!
//! A block holds 64 inputs of `2 * LANES` neighbouring outputs: eight words a lane of eight codes
//! each, then an f32 scale for each output. In a word, input `i` lies at bit
//! `16 * (i % 2) + 4 * (i / 2)`: a shift brings a pair of inputs to the low ends of its halves.
//!
//! Few rows take codes as they come. Where there are many, a block is looked up once for all rows
//! of a task.

#![expect(
    unsafe_code,
    reason = "pointers in the innermost loop; threads write disjoint parts of one result"
)]

use std::ops::Range;

use super::bf16_dot::bf16_bits;
use super::float_panel::NF4_BLOCK;
use super::gemm::{FEW_ROWS, Product, for_each_task, panel_width, with_panel};
use super::level::SimdLevel;
use super::nf4_tile::{Nf4Blocks, look_up};
use super::panel_matrix::Start;
use super::simd::{Bf16Table, Kernel, Simd, dispatch};
use crate::packed::{Codebook4, FP4_CODEBOOK, NF4_CODEBOOK};

/// Words of a block, a lane.
pub(crate) const WORDS: usize = NF4_BLOCK / 8;

/// Pairs of inputs in a block.
pub(crate) const PAIRS: usize = NF4_BLOCK / 2;

/// The most lanes of a panel.
const MAX_WIDTH: usize = 32;

static NF4: Bf16Table = Bf16Table::new(&NF4_CODEBOOK);
static FP4: Bf16Table = Bf16Table::new(&FP4_CODEBOOK);

fn table(book: Codebook4) -> &'static Bf16Table {
    match book {
        Codebook4::Nf4 => &NF4,
        Codebook4::Fp4 => &FP4,
    }
}

/// Pairs from one row of activations to the next: an odd number of cache lines, so that the rows of a
/// tile do not crowd into one set of the first cache.
pub(crate) fn row_stride(n_in: usize) -> usize {
    const LINE: usize = 16;
    ((n_in / 2).div_ceil(LINE) | 1) * LINE
}

/// Bytes of a block.
pub(crate) fn block_bytes(width: usize) -> usize {
    width * (4 * WORDS + 4)
}

/// Where the word with input `k` of output `lane` begins in its block, and the code's bit.
pub(crate) fn place(width: usize, lane: usize, k: usize) -> (usize, usize) {
    let (word, i) = (k % NF4_BLOCK / 8, k % 8);
    (4 * (word * width + lane), 16 * (i % 2) + 4 * (i / 2))
}

/// Where the scale of output `lane` lies in a block.
pub(crate) fn scale_at(width: usize, lane: usize) -> usize {
    4 * (WORDS * width + lane)
}

/// The value of a code as it is multiplied, before the scale.
pub(crate) fn value(book: Codebook4, code: u8) -> f32 {
    f32::from_bits(bf16_bits(book.levels()[usize::from(code)]) << 16)
}

/// Blocks of all panels, of weights of `n_in` inputs.
#[derive(Clone, Copy)]
pub(crate) struct Nf4Codes<'a> {
    pub(crate) book: Codebook4,
    pub(crate) n_in: usize,
    pub(crate) blocks: &'a [u8],
}

/// Rows in pairs, [`row_stride`] apart, times weights.
pub(crate) fn nf4_matmul(level: SimdLevel, x: &[u32], weights: Nf4Codes<'_>, result: &Product) {
    let Nf4Codes { book, n_in, blocks } = weights;
    for_each_task(level, result, |rows, panels| {
        let task = Nf4Task {
            table: table(book),
            x,
            n_blocks: n_in / NF4_BLOCK,
            panel_bytes: block_bytes(panel_width(level)) * (n_in / NF4_BLOCK),
            blocks,
            rows,
            panels,
            result,
        };
        dispatch(level, task);
    });
}

struct Nf4Task<'a> {
    table: &'static Bf16Table,
    x: &'a [u32],
    n_blocks: usize,
    panel_bytes: usize,
    blocks: &'a [u8],
    rows: Range<usize>,
    panels: Range<usize>,
    result: &'a Product,
}

impl Kernel for Nf4Task<'_> {
    type Output = ();
    const MULTIPLIES_BF16: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut looked_up = [0_u32; PAIRS * MAX_WIDTH];
        let few = self.rows.len() <= FEW_ROWS;
        for index in self.panels.clone() {
            let panel = &self.blocks[index * self.panel_bytes..][..self.panel_bytes];
            let step = if few { self.n_blocks } else { 1 };
            for first in (0..self.n_blocks).step_by(step) {
                let first_block = panel[first * block_bytes(2 * S::LANES)..].as_ptr();
                if !few {
                    // SAFETY: a block of the panel; room for a block's pairs.
                    unsafe { look_up(s, self.table, first_block, looked_up.as_mut_ptr()) };
                }
                let task = Nf4Blocks {
                    table: self.table,
                    x: self.x,
                    row_stride: row_stride(self.n_blocks * NF4_BLOCK),
                    blocks: first_block,
                    looked_up: (!few).then_some(looked_up.as_ptr()),
                    range: first..first + step,
                };
                let start = if first == 0 {
                    self.result.start
                } else {
                    Start::Accumulate
                };
                // SAFETY: this part of the result is this task's.
                unsafe { with_panel(s, self.result, self.rows.clone(), index, start, &task) };
            }
        }
    }
}
