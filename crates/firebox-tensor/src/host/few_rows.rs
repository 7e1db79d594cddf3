//! A few rows times a weight as it lies in memory, `[out, in]`.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

/// Independent partial sums of one dot product.
const LANES: usize = 32;
/// Outputs that one task computes.
const COLUMNS: usize = 64;

/// `x Wᵀ`: `x` `[rows, in]`, the result `[rows, out]`, for `[rows, in, out]`. `weight_rows` gives some
/// rows of the weight, one task's at a time. Every output is one dot product summed in a fixed order.
pub fn few_rows<'w>(
    x: &[f32],
    [rows, d_in, d_out]: [usize; 3],
    weight_rows: impl Fn(Range<usize>) -> Cow<'w, [f32]> + Sync,
) -> Vec<f32> {
    if rows == 0 || d_in == 0 || d_out == 0 {
        return vec![0.0; rows * d_out];
    }
    // Column-major first, so that a task writes one run; then turned.
    let mut columns = vec![0.0; rows * d_out];
    let tasks = columns.par_chunks_mut(COLUMNS * rows).enumerate();
    tasks.for_each(|(i, y)| {
        let first = i * COLUMNS;
        let weight = weight_rows(first..first + y.len() / rows);
        for (y, w) in y.chunks_exact_mut(rows).zip(weight.chunks_exact(d_in)) {
            for (y, x) in y.iter_mut().zip(x.chunks_exact(d_in)) {
                *y = dot(x, w);
            }
        }
    });
    if rows == 1 {
        columns
    } else {
        turn(&columns, rows, d_out)
    }
}

/// `[columns, rows]` to `[rows, columns]`.
fn turn(columns: &[f32], rows: usize, d_out: usize) -> Vec<f32> {
    let mut y = vec![0.0; columns.len()];
    for (column, values) in columns.chunks_exact(rows).enumerate() {
        for (row, value) in values.iter().enumerate() {
            y[row * d_out + column] = *value;
        }
    }
    y
}

/// A dot product in [`LANES`] partial sums, folded in halves.
#[inline]
fn dot(x: &[f32], w: &[f32]) -> f32 {
    let ((xs, x_tail), (ws, w_tail)) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    let mut sums = [0.0_f32; LANES];
    for i in 0..xs.len().min(ws.len()) {
        for lane in 0..LANES {
            sums[lane] += xs[i][lane] * ws[i][lane];
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    let tail: f32 = x_tail.iter().zip(w_tail).map(|(x, w)| x * w).sum();
    sums[0] + tail
}
