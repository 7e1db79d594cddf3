//! Rows to columns, for the layout of panels and tiles.

use std::ops::Range;

use bytemuck::Pod;

use super::simd::Simd;

/// Values that are turned at a time: a cache line of each row.
const TURNED: usize = 16;

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
/// # Panics
/// When a slice is too short. `X` has four bytes.
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
