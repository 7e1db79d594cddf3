//! Packing a weight block by block, with scales chosen apart from the codes.

use firebox_tensor::packed::{BlockGrid, PackError, PackedFormat, PackedMatrix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::QuantError;

/// Rows that one task packs; GPTQ reads each row of its factor from memory once for all of them.
const ROWS_PER_TASK: usize = 8;

/// How a weight is rounded of which nothing else is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// As the format's own tool rounds.
    #[default]
    Nearest,
    /// HQQ: minimums such that large errors count less; for formats with a minimum of 16 bits. Weights of
    /// other formats, by a rule, are rounded to the nearest.
    HalfQuadratic,
}

impl Rounding {
    /// Whether most weights can be rounded so.
    pub(crate) fn check(self, format: PackedFormat) -> Result<(), QuantError> {
        match self {
            Self::HalfQuadratic if !format.has_real_minimum() => {
                Err(QuantError::NoMinimum { format })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn pack(
        self,
        format: PackedFormat,
        weight: &[f32],
        [n_rows, n_cols]: [usize; 2],
    ) -> Result<PackedMatrix, PackError> {
        match self {
            Self::HalfQuadratic
                if format.has_real_minimum() && format.block_len(n_cols).is_some() =>
            {
                let fit = |block: &[f32], _: &[f32]| BlockGrid::fit_half_quadratic(format, block);
                round_blocks(format, weight, &vec![1.0; n_cols], fit)
            }
            _ => PackedMatrix::pack(format, weight, n_rows, n_cols),
        }
    }
}

/// Packs `weight`, `[out, in]`, each value rounded to the nearest: scales are those of least error
/// where a column counts as much as `importance` says.
///
/// # Errors
/// As [`PackedMatrix::pack`].
///
/// # Panics
/// If the weight is not as wide as `importance`, or blocks reach over the end of a row.
pub fn weighted_rounding(
    format: PackedFormat,
    weight: &[f32],
    importance: &[f32],
) -> Result<PackedMatrix, PackError> {
    let fit = |block: &[f32], importance: &[f32]| BlockGrid::fit(format, block, importance);
    round_blocks(format, weight, importance, fit)
}

/// Packs `weight` with scales that `fit` chooses for a block and the importance of its columns.
fn round_blocks(
    format: PackedFormat,
    weight: &[f32],
    importance: &[f32],
    fit: impl Fn(&[f32], &[f32]) -> BlockGrid + Sync,
) -> Result<PackedMatrix, PackError> {
    let n_cols = importance.len();
    pack_rows(format, weight, n_cols, |block_len, weight, codes| {
        let of_blocks = importance.chunks(block_len).cycle();
        let blocks = weight.chunks(block_len).zip(codes.chunks_mut(block_len));
        let round = |((block, codes), importance): ((&[f32], &mut [u8]), &[f32])| {
            let grid = fit(block, importance);
            for (place, (code, x)) in codes.iter_mut().zip(block).enumerate() {
                *code = grid.nearest(place, *x).0;
            }
            grid
        };
        blocks.zip(of_blocks).map(round).collect()
    })
}

/// Packs `weight`, `[out, n_cols]`, some rows a task: `round` gets the length of a block, rows, and room
/// for their codes, and gives the scales of their blocks.
pub(crate) fn pack_rows(
    format: PackedFormat,
    weight: &[f32],
    n_cols: usize,
    round: impl Fn(usize, &[f32], &mut [u8]) -> Vec<BlockGrid> + Sync,
) -> Result<PackedMatrix, PackError> {
    let n_rows = weight.len() / n_cols;
    assert_eq!(
        weight.len(),
        n_rows * n_cols,
        "a weight as wide as its inputs"
    );
    format.check(weight, n_cols)?;
    let block_len = format.block_len(n_cols).expect("rows of whole blocks");
    let mut codes = vec![0; weight.len()];
    let grids: Vec<BlockGrid> = weight
        .par_chunks(ROWS_PER_TASK * n_cols)
        .zip(codes.par_chunks_mut(ROWS_PER_TASK * n_cols))
        .flat_map_iter(|(weight, codes)| round(block_len, weight, codes))
        .collect();
    PackedMatrix::from_grids(format, [n_rows, n_cols], &grids, &codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_quadratic_rounding_is_for_formats_with_a_minimum() {
        let weight: Vec<f32> = (0..128).map(|i| (i as f32 * 0.7).sin().powi(3)).collect();
        let hqq = Rounding::HalfQuadratic;
        for format in PackedFormat::ALL {
            let is_fit = format.has_real_minimum();
            assert_eq!(hqq.check(format).is_ok(), is_fit, "{format}");
            if 64 % format.row_multiple() != 0 {
                continue;
            }
            let nearest = Rounding::Nearest.pack(format, &weight, [2, 64]).unwrap();
            let found = hqq.pack(format, &weight, [2, 64]).unwrap();
            assert_eq!(nearest.unpack() != found.unpack(), is_fit, "{format}");
        }
        let error = hqq.check(PackedFormat::Nf4).unwrap_err().to_string();
        assert!(error.contains("found nf4"), "{error}");
    }
}
