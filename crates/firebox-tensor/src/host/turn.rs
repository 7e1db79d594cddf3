//! Rows to columns, for the layout of panels and tiles.

use std::ops::Range;

use bytemuck::Pod;

use super::simd::Simd;

/// Values that are turned at a time: a cache line of each row.
const TURNED: usize = 16;

/// The most lanes of a vector.
const MAX_LANES: usize = 16;

/// `[rows, n]`, at most `width` rows, to `[n, width]`, a cache line of each row at a time; lanes that
/// have no row keep what they hold.
#[inline(always)]
pub(crate) fn turn<X: Copy>(rows: &[X], n: usize, width: usize, panel: &mut [X]) {
    debug_assert!(rows.len() <= n * width && panel.len() == n * width);
    for (line, to) in panel.chunks_mut(TURNED * width).enumerate() {
        let columns = line * TURNED..n.min((line + 1) * TURNED);
        for (lane, row) in rows.chunks_exact(n).enumerate() {
            for (to, value) in to[lane..]
                .iter_mut()
                .step_by(width)
                .zip(&row[columns.clone()])
            {
                *to = *value;
            }
        }
    }
}

/// Columns `columns` of rows that are `stride` long, at most `width` of them, to `[columns, width]`, in
/// registers where it goes. Lanes that have no row hold anything.
///
/// `X` has four bytes.
///
/// # Panics
/// When a slice is too short, or a column wider than a vector is not whole vectors.
#[inline(always)]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
pub(crate) fn turn_rows<S: Simd, X: Pod>(
    s: S,
    rows: &[X],
    stride: usize,
    columns: Range<usize>,
    width: usize,
    to: &mut [X],
) {
    let (n_rows, n) = (rows.len() / stride, columns.len());
    assert!(
        size_of::<X>() == 4 && columns.end <= stride && n_rows <= width && to.len() == n * width
    );
    assert!(
        width <= S::LANES || width.is_multiple_of(S::LANES),
        "whole vectors"
    );
    for first in (0..n_rows).step_by(S::LANES) {
        let lanes = S::LANES.min(n_rows - first);
        let rows = &rows[first * stride..(first + lanes) * stride];
        let mut k = 0;
        // A turned block writes whole vectors, into the columns behind it where a column is shorter.
        while k + S::LANES <= n && (k + S::LANES - 1) * width + first + S::LANES <= to.len() {
            // SAFETY: the rows reach `LANES` columns from here on, and so does the output: its last
            // vector ends inside it.
            unsafe {
                let from = rows.as_ptr().add(columns.start + k).cast();
                let to = to.as_mut_ptr().add(k * width + first).cast();
                s.turn(from, stride, lanes, to, width);
            }
            k += S::LANES;
        }
        // The last block's vectors would reach behind the output.
        if k + S::LANES <= n {
            let mut block = [X::zeroed(); MAX_LANES * MAX_LANES];
            // SAFETY: the rows reach `LANES` columns from here on; room for as many vectors.
            unsafe {
                let from = rows.as_ptr().add(columns.start + k).cast();
                s.turn(from, stride, lanes, block.as_mut_ptr().cast(), S::LANES);
            }
            for (to, column) in to[k * width + first..]
                .chunks_mut(width)
                .zip(block.chunks_exact(S::LANES))
            {
                to[..lanes].copy_from_slice(&column[..lanes]);
            }
            k += S::LANES;
        }
        for k in k..n {
            for (to, row) in to[k * width + first..]
                .iter_mut()
                .zip(rows.chunks_exact(stride))
            {
                *to = row[columns.start + k];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Kernel, dispatch};
    use super::super::tests::at_each_level;
    use super::*;

    struct Turn<'a> {
        rows: &'a [f32],
        stride: usize,
        columns: Range<usize>,
        wide: bool,
        to: &'a mut Vec<f32>,
    }

    impl Kernel for Turn<'_> {
        type Output = usize;

        fn run<S: Simd>(self, s: S) -> usize {
            let width = if self.wide {
                2 * S::LANES
            } else {
                S::FLOAT_ROWS
            };
            let n_rows = (self.rows.len() / self.stride).min(width);
            self.to.resize(self.columns.len() * width, -1.0);
            turn_rows(
                s,
                &self.rows[..n_rows * self.stride],
                self.stride,
                self.columns,
                width,
                self.to,
            );
            width
        }
    }

    #[test]
    fn rows_become_columns_of_any_length() {
        at_each_level(|level| {
            for n in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 192] {
                for (n_rows, wide) in [
                    (1, false),
                    (5, false),
                    (12, false),
                    (1, true),
                    (17, true),
                    (32, true),
                ] {
                    let stride = n + 5;
                    let rows: Vec<f32> = (0..n_rows * stride).map(|i| i as f32).collect();
                    let mut to = Vec::new();
                    let turn = Turn {
                        rows: &rows,
                        stride,
                        columns: 3..3 + n,
                        wide,
                        to: &mut to,
                    };
                    let width = dispatch(level, turn);
                    for (k, column) in to.chunks_exact(width).enumerate() {
                        for (row, x) in column.iter().enumerate().take(n_rows) {
                            assert_eq!(
                                *x,
                                rows[row * stride + 3 + k],
                                "{level} {n} {n_rows} {wide}"
                            );
                        }
                    }
                }
            }
        });
    }
}
