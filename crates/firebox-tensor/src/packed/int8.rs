//! INT8 with one scale per output row.
//!
//! `q = round_half_even(w * (1 / absmax_row * 127))`, as bitsandbytes' `int8_vectorwise_quant` has it, and
//! `w ≈ q * absmax_row / 127` from left to right, in f32. A row of zeros has `absmax = 0` and `q = 0`.
//!
//! Activations can be rounded likewise, by [`round_activations`], large ones left out.
//!
//! Source: Dettmers et al. (2022), <https://arxiv.org/abs/2208.07339>, sections 2.1 and 3.2.

use rayon::prelude::*;

use crate::packed::block_rounding::{absmax, round_half_even};

/// Largest code.
const MAX_CODE: f32 = 127.0;

/// Largest magnitude whose `q * absmax` is still finite.
pub(super) const LIMIT: f32 = f32::MAX / 128.0;

/// Packs finite weights into `(codes, absmax)`; the codes are signed bytes.
pub(super) fn pack(weight: &[f32], n_rows: usize, n_cols: usize) -> (Vec<u8>, Vec<f32>) {
    let mut codes = vec![0; weight.len()];
    let mut scales = vec![0.0; n_rows];
    if n_cols > 0 {
        weight
            .par_chunks_exact(n_cols)
            .zip(codes.par_chunks_exact_mut(n_cols))
            .zip(&mut scales)
            .for_each(|((row, codes), scale)| *scale = pack_row(row, codes));
    }
    (codes, scales)
}

fn pack_row(row: &[f32], codes: &mut [u8]) -> f32 {
    let absmax = absmax(row);
    if absmax > 0.0 {
        for (code, x) in codes.iter_mut().zip(row) {
            *code = round_half_even(in_steps(*x, absmax));
        }
    }
    absmax
}

/// Inputs of this magnitude and more are outliers, in LLM.int8() and in bitsandbytes' layers.
pub const INT8_OUTLIERS_FROM: f32 = 6.0;

/// Rounds the rows of `x`, `[rows, n_cols]`, to what 8 bits and a scale for each row hold:
/// `x ≈ q * absmax / 127`, where `absmax` is the largest magnitude below `outliers_from`. Larger values
/// stay as they are. A product of such rows with an INT8 weight is that of LLM.int8(): a sum of products
/// of integers, and one of outliers in floats.
///
/// Source: Dettmers et al. (2022), equation 8, <https://arxiv.org/abs/2208.07339>; there a column with one
/// outlier is one for all rows, so that a row's result depends on the batch. Here it does not.
///
/// # Examples
/// ```
/// use firebox_tensor::packed::{INT8_OUTLIERS_FROM, round_activations};
///
/// let (mut apart, mut whole) = ([0.304, -1.27, 9.7531], [0.304, -1.27, 9.7531]);
/// round_activations(&mut apart, 3, INT8_OUTLIERS_FROM);
/// assert!((apart[0] - 0.30_f32).abs() < 1e-6 && apart[2] == 9.7531);
/// round_activations(&mut whole, 3, f32::INFINITY);
/// assert!((whole[0] - 4.0 * 9.7531 / 127.0_f32).abs() < 1e-6);
/// ```
pub fn round_activations(x: &mut [f32], n_cols: usize, outliers_from: f32) {
    for row in x.chunks_mut(n_cols.max(1)) {
        let is_rounded = |x: f32| x.abs() < outliers_from;
        let rounded = row.iter().filter(|x| is_rounded(**x));
        let absmax = rounded.fold(0.0_f32, |max, x| max.max(x.abs()));
        if absmax > 0.0 {
            let inverse = MAX_CODE / absmax;
            for x in row.iter_mut().filter(|x| is_rounded(**x)) {
                *x = (*x * inverse).round_ties_even() * absmax / MAX_CODE;
            }
        }
    }
}

/// `x` in steps of `absmax / 127`; 0 where all of the row is.
#[inline(always)]
pub(super) fn in_steps(x: f32, absmax: f32) -> f32 {
    // Two roundings: torch divides a number by a tensor so.
    let inverse = 1.0 / absmax * MAX_CODE;
    if inverse.is_finite() {
        x * inverse
    } else if absmax > 0.0 {
        // So small that bitsandbytes' factor overflows.
        x / absmax * MAX_CODE
    } else {
        0.0
    }
}

/// Writes `q * absmax / 127` for the signed bytes `codes`.
pub(super) fn unpack(codes: &[u8], absmax: f32, out: &mut [f32]) {
    for (x, code) in out.iter_mut().zip(codes) {
        *x = f32::from(*code as i8) * absmax / MAX_CODE;
    }
}
