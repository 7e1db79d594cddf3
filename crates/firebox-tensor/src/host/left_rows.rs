//! The left factor of a product of floats, laid out as the innermost loop reads it.

#![expect(unsafe_code, reason = "threads write disjoint parts of one buffer")]

use std::ops::Range;

use bytemuck::Pod;

use super::float_matmul::BLOCK_DEPTH;
use super::gemm::float_rows;
use super::level::SimdLevel;
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};
use super::turn::turn_rows;

/// Tiles that one task lays out: some cache lines of every input's column.
const TASK_TILES: usize = 4;

/// The left factor of a product of floats.
#[derive(Clone, Copy)]
pub(crate) enum LeftRows<'a, X> {
    /// `[rows, depth]`.
    Rows(&'a [X]),
    /// `[depth, rows]`.
    #[cfg_attr(
        not(feature = "burn"),
        allow(dead_code, reason = "training alone multiplies columns")
    )]
    Columns(&'a [X]),
}

/// Rows over some inputs as `[blocks of inputs, tiles of rows, inputs, rows of a tile]`; rows that are
/// not there hold anything.
#[derive(Clone, Copy)]
pub(crate) struct LaidOut<'a, X> {
    values: &'a [X],
    /// Rows, whole tiles of them.
    n_rows: usize,
    n_inputs: usize,
}

impl<'a, X: Pod + Send + Sync> LaidOut<'a, X> {
    /// Inputs `band` of rows `rows` of a factor of `[n_rows, depth]`. `X` has four bytes, as a number of
    /// `room`.
    pub(crate) fn new(
        level: SimdLevel,
        left: LeftRows<'_, X>,
        shape: [usize; 2],
        rows: Range<usize>,
        band: Range<usize>,
        room: &'a mut Vec<u32>,
    ) -> Self {
        let tile = float_rows(level);
        let n_tiles = rows.len().div_ceil(tile);
        let n = n_tiles * tile * band.len();
        if room.len() < n {
            room.resize(n, 0);
        }
        let values: &mut [X] = bytemuck::cast_slice_mut(&mut room[..n]);
        let to = SharedMut::new(values);
        let n_groups = n_tiles.div_ceil(TASK_TILES);
        for_each(n_groups * band.len().div_ceil(BLOCK_DEPTH), |task| {
            let (group, block) = (task % n_groups, task / n_groups);
            let task = LayOut {
                left,
                shape,
                rows: rows.clone(),
                tiles: group * TASK_TILES..n_tiles.min((group + 1) * TASK_TILES),
                first: block * BLOCK_DEPTH,
                band: band.clone(),
                to,
            };
            dispatch(level, task);
        });
        Self {
            values,
            n_rows: n_tiles * tile,
            n_inputs: band.len(),
        }
    }

    /// Where row `row`, the first one of a tile, begins in the block of inputs from `first` of the band
    /// on.
    #[inline(always)]
    pub(crate) fn block(&self, first: usize, row: usize) -> *const X {
        let n = BLOCK_DEPTH.min(self.n_inputs - first);
        self.values[first * self.n_rows + row * n..].as_ptr()
    }
}

/// Some tiles of one block of inputs.
struct LayOut<'a, X> {
    left: LeftRows<'a, X>,
    shape: [usize; 2],
    rows: Range<usize>,
    tiles: Range<usize>,
    /// Where the block begins in the band.
    first: usize,
    band: Range<usize>,
    to: SharedMut<X>,
}

impl<X: Pod> Kernel for LayOut<'_, X> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let filled = self.rows.len().next_multiple_of(S::FLOAT_ROWS);
        let first = self.band.start + self.first;
        let inputs = first..self.band.end.min(first + BLOCK_DEPTH);
        for tile in self.tiles.clone() {
            let row = tile * S::FLOAT_ROWS;
            let rows =
                self.rows.start + row..self.rows.end.min(self.rows.start + row + S::FLOAT_ROWS);
            let at = self.first * filled + row * inputs.len();
            // SAFETY: the output has this tile's block, and it is this task's alone.
            let to = unsafe {
                let n = inputs.len() * S::FLOAT_ROWS;
                std::slice::from_raw_parts_mut(self.to.skip(at).ptr(), n)
            };
            self.tile(s, rows, inputs.clone(), to);
        }
    }
}

impl<X: Pod> LayOut<'_, X> {
    #[inline(always)]
    fn tile<S: Simd>(&self, s: S, rows: Range<usize>, inputs: Range<usize>, to: &mut [X]) {
        let [n_rows, depth] = self.shape;
        match self.left {
            LeftRows::Rows(x) => {
                let rows = &x[rows.start * depth..rows.end * depth];
                let rows: &[f32] = bytemuck::cast_slice(rows); // The same bits, which are moved.
                const { assert!(size_of::<X>() == size_of::<f32>()) }
                assert_eq!(to.len(), inputs.len() * S::FLOAT_ROWS, "room for a tile");
                // SAFETY: room for a tile's rows of every input, of four bytes each.
                unsafe {
                    let to = to.as_mut_ptr().cast();
                    turn_rows(s, rows, depth, inputs, S::FLOAT_ROWS, to);
                }
            }
            LeftRows::Columns(a) => {
                for (k, to) in inputs.zip(to.chunks_exact_mut(S::FLOAT_ROWS)) {
                    let from = &a[k * n_rows..][rows.clone()];
                    if from.len() == S::FLOAT_ROWS {
                        // Of a length that the compiler knows.
                        to.copy_from_slice(&from[..S::FLOAT_ROWS]);
                    } else {
                        to[..from.len()].copy_from_slice(from);
                    }
                }
            }
        }
    }
}
