//! Rows to columns, for the layout of panels and tiles.

#![expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]

use std::ops::Range;

use super::simd::Simd;
use super::stored::Stored;

/// The most lanes of a vector.
pub(crate) const MAX_LANES: usize = 16;

/// Columns `columns` of rows that are `stride` long, at most `width` of them, to `[columns, width]`, in
/// registers where it goes. Lanes that have no row hold anything.
///
/// # Panics
/// When there are more rows than `width`, a row is shorter than the columns reach, or a column wider than
/// a vector is not whole vectors.
///
/// # Safety
/// `to` is good for `width` numbers of every column.
#[inline(always)]
pub(crate) unsafe fn turn_rows<S: Simd, E: Stored>(
    s: S,
    rows: &[E],
    stride: usize,
    columns: Range<usize>,
    width: usize,
    to: *mut f32,
) {
    let (n_rows, n) = (rows.len() / stride, columns.len());
    assert!(columns.end <= stride && n_rows <= width, "shapes that fit");
    assert!(
        width <= S::LANES || width.is_multiple_of(S::LANES),
        "whole vectors"
    );
    for first in (0..n_rows).step_by(S::LANES) {
        let lanes = S::LANES.min(n_rows - first);
        let rows = &rows[first * stride..(first + lanes) * stride];
        let mut k = 0;
        while k + S::LANES <= n {
            let at = k * width + first;
            // SAFETY: the rows reach `LANES` columns from here on. Whole vectors are written, into the
            // columns behind where a column is shorter, which are written later; where the last one
            // would reach behind the output, to a block beside it.
            unsafe {
                let from = rows.as_ptr().add(columns.start + k);
                if at + (S::LANES - 1) * width + S::LANES <= n * width {
                    E::turn(s, from, stride, lanes, to.add(at), width);
                } else {
                    let mut block = [0.0; MAX_LANES * MAX_LANES];
                    E::turn(s, from, stride, lanes, block.as_mut_ptr(), S::LANES);
                    for (i, column) in block.chunks_exact(S::LANES).enumerate().take(S::LANES) {
                        let to = to.add(at + i * width);
                        std::ptr::copy_nonoverlapping(column.as_ptr(), to, lanes);
                    }
                }
            }
            k += S::LANES;
        }
        for k in k..n {
            for (lane, row) in rows.chunks_exact(stride).enumerate() {
                // SAFETY: a lane of a column.
                unsafe { *to.add(k * width + first + lane) = row[columns.start + k].widened() };
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
            let n = self.columns.len() * width;
            self.to.resize(n + MAX_LANES, -1.0);
            // SAFETY: room for all columns.
            unsafe {
                turn_rows(
                    s,
                    &self.rows[..n_rows * self.stride],
                    self.stride,
                    self.columns,
                    width,
                    self.to.as_mut_ptr(),
                );
            }
            assert_eq!(
                self.to.split_off(n),
                [-1.0; MAX_LANES],
                "nothing behind them"
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
