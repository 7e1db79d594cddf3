//! `C += Aᵀ B`: the gradient of a weight, from rows of gradients and rows of inputs.

#![expect(
    unsafe_code,
    reason = "threads write disjoint rows of one result through a pointer"
)]

use std::cell::RefCell;
use std::ops::Range;

use super::float_panel::F32Panel;
use super::float_tile::{Depth, Left, Out, tile_rows};
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};

/// Rows of the result that one task computes; whole tiles of every level.
const TASK_ROWS: usize = 96;

/// Depth of a block: its part of `B` stays in the second cache.
const BLOCK_DEPTH: usize = 128;

thread_local! {
    /// A block of `A`, transposed in tiles.
    static COPIED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
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
    let c = SharedMut::new(c);
    for_each(m.div_ceil(TASK_ROWS), |task| {
        let rows = task * TASK_ROWS..m.min((task + 1) * TASK_ROWS);
        dispatch(
            level,
            Task {
                a,
                b,
                m,
                n,
                rows,
                c,
            },
        );
    });
}

struct Task<'a> {
    a: &'a [f32],
    b: &'a [f32],
    m: usize,
    n: usize,
    rows: Range<usize>,
    c: SharedMut<f32>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (depth, tile, width) = (self.b.len() / self.n, S::FLOAT_ROWS, 2 * S::LANES);
        let mut copied = COPIED.take();
        for first in (0..depth).step_by(BLOCK_DEPTH) {
            let n_depth = BLOCK_DEPTH.min(depth - first);
            self.copy(first..first + n_depth, tile, &mut copied);
            for column in (0..self.n).step_by(width) {
                let n_valid = width.min(self.n - column);
                for row in self.rows.clone().step_by(tile) {
                    let n_rows = tile.min(self.rows.end - row);
                    let at = (row - self.rows.start) * n_depth;
                    let left = Left {
                        values: copied[at..].as_ptr(),
                        row_stride: 1,
                        depth_stride: tile,
                    };
                    // SAFETY: rows of the copy; this block of the result, which only this task
                    // touches; `tile` handles what is less than two vectors wide.
                    unsafe { self.tile(s, n_rows, left, first, n_depth, row, column, n_valid) };
                }
            }
        }
        COPIED.set(copied);
    }
}

impl Task<'_> {
    /// `[depth, m]` to `[rows / tile, depth, tile]`.
    #[inline(always)]
    fn copy(&self, depth: Range<usize>, tile: usize, copied: &mut Vec<f32>) {
        copied.resize(self.rows.len().next_multiple_of(tile) * depth.len(), 0.0);
        for (index, first) in self.rows.clone().step_by(tile).enumerate() {
            let n = tile.min(self.rows.end - first);
            let block = &mut copied[index * tile * depth.len()..];
            for (k, to) in depth.clone().zip(block.chunks_exact_mut(tile)) {
                to[..n].copy_from_slice(&self.a[k * self.m + first..][..n]);
            }
        }
    }

    /// # Safety
    /// `left` has `n_rows` rows of `n_depth`.
    #[inline(always)]
    unsafe fn tile<S: Simd>(
        &self,
        s: S,
        n_rows: usize,
        left: Left,
        first: usize,
        n_depth: usize,
        row: usize,
        column: usize,
        n_valid: usize,
    ) {
        let width = 2 * S::LANES;
        let depth = Depth {
            first: 0,
            n: n_depth,
        };
        let right = &self.b[first * self.n + column..];
        // SAFETY: inside `b` and `c`; a part that is less than two vectors wide goes through copies.
        unsafe {
            let c = self.c.ptr().add(row * self.n + column);
            if n_valid == width {
                let panel = F32Panel {
                    values: right.as_ptr(),
                    stride: self.n,
                };
                let out = Out {
                    values: c,
                    stride: self.n,
                };
                return tile_rows(s, n_rows, left, panel, depth, out, Start::Accumulate);
            }
            let mut narrow = vec![0.0; n_depth * width];
            for (k, to) in narrow.chunks_exact_mut(width).enumerate() {
                to[..n_valid].copy_from_slice(&right[k * self.n..][..n_valid]);
            }
            let mut out = vec![0.0; n_rows * width];
            for (i, to) in out.chunks_exact_mut(width).enumerate() {
                std::ptr::copy_nonoverlapping(c.add(i * self.n), to.as_mut_ptr(), n_valid);
            }
            let panel = F32Panel {
                values: narrow.as_ptr(),
                stride: width,
            };
            let copy = Out {
                values: out.as_mut_ptr(),
                stride: width,
            };
            tile_rows(s, n_rows, left, panel, depth, copy, Start::Accumulate);
            for (i, from) in out.chunks_exact(width).enumerate() {
                std::ptr::copy_nonoverlapping(from.as_ptr(), c.add(i * self.n), n_valid);
            }
        }
    }
}
