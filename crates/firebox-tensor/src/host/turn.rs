//! Rows to columns, for the layout of panels.

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
