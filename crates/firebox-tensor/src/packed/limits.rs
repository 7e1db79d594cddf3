//! Which shapes and values a format can hold.

use rayon::prelude::*;

use crate::packed::{
    PackError, PackedFormat, block_rounding::absmax, int4, int8, q4_0, q4_1, q4_k, q5_0, q5_1,
    q5_k, q6_k, q8_0,
};

/// `n_rows * n_cols`, if the format can hold such a shape. No size of a part then overflows.
pub(super) fn checked_len(
    format: PackedFormat,
    n_rows: usize,
    n_cols: usize,
) -> Result<usize, PackError> {
    let block_size = format.row_multiple();
    if !n_cols.is_multiple_of(block_size) {
        return Err(PackError::RowNotWholeBlocks {
            format,
            n_cols,
            block_size,
        });
    }
    n_rows
        .checked_mul(n_cols)
        .filter(|n| {
            n.checked_mul(4)
                .is_some_and(|bytes| isize::try_from(bytes).is_ok())
        })
        .ok_or(PackError::TooManyElements { n_rows, n_cols })
}

/// Checks that every value is finite and small enough for the format.
pub(super) fn check_values(
    format: PackedFormat,
    weight: &[f32],
    n_cols: usize,
) -> Result<(), PackError> {
    let limit = match format {
        PackedFormat::Nf4
        | PackedFormat::Nf4DoubleQuant
        | PackedFormat::Fp4
        | PackedFormat::Fp4DoubleQuant => f32::MAX,
        PackedFormat::Int8Rowwise => int8::LIMIT,
        PackedFormat::Q8_0 => q8_0::LIMIT,
        PackedFormat::Q4_0 => q4_0::LIMIT,
        PackedFormat::Q4_1 => q4_1::LIMIT,
        PackedFormat::Q4K => q4_k::LIMIT,
        PackedFormat::Q5_0 => q5_0::LIMIT,
        PackedFormat::Q5_1 => q5_1::LIMIT,
        PackedFormat::Q5K => q5_k::LIMIT,
        PackedFormat::Q6K => q6_k::LIMIT,
        PackedFormat::Int4(_) => int4::LIMIT,
    };
    // NaN compares as false, so it is caught by the negated test.
    let fits = |x: f32| x.abs() <= limit;
    if weight.par_chunks(1 << 16).all(|chunk| fits(absmax(chunk))) {
        return Ok(());
    }
    let Some(index) = weight.iter().position(|x| !fits(*x)) else {
        return Ok(());
    };
    let (row, column, value) = (index / n_cols, index % n_cols, weight[index]);
    Err(if value.is_finite() {
        PackError::TooLarge {
            format,
            limit,
            row,
            column,
            value,
        }
    } else {
        PackError::NonFinite { row, column, value }
    })
}

impl PackedFormat {
    /// Checks that every value of a weight, `[_, n_cols]` row-major, is finite and small enough to be
    /// packed; [`PackedMatrix::pack`](crate::packed::PackedMatrix::pack) does so itself.
    ///
    /// # Errors
    /// [`PackError::NonFinite`] and [`PackError::TooLarge`] with the place of the first that is not.
    pub fn check(self, weight: &[f32], n_cols: usize) -> Result<(), PackError> {
        check_values(self, weight, n_cols)
    }
}
