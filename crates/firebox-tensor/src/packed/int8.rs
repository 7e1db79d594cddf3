//! INT8 with one scale per output row.
//!
//! `q = round_half_even(w * (1 / absmax_row * 127))`, as bitsandbytes' `int8_vectorwise_quant` has it, and
//! `w ≈ q * absmax_row / 127` from left to right, in f32. A row of zeros has `absmax = 0` and `q = 0`.
//!
//! Source: Dettmers et al. (2022), <https://arxiv.org/abs/2208.07339>, section 2.1, without the
//! outlier columns.

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
