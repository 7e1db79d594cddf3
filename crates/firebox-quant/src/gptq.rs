//! GPTQ: each rounding error is made good in the columns that are not rounded yet.

use firebox_tensor::packed::{BlockGrid, PackError, PackedFormat, PackedMatrix};
use serde::{Deserialize, Serialize};

use crate::hessian::{Hessian, InverseFactor};
use crate::rounding::pack_rows;

/// Settings of GPTQ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GptqConfig {
    /// Added to the diagonal of the Hessian, as a part of its mean.
    pub damping: f64,
    /// Columns with large inputs first. The scales of all blocks then come from the weights as they
    /// were, not as earlier errors changed them.
    pub act_order: bool,
}

impl Default for GptqConfig {
    fn default() -> Self {
        Self {
            damping: 0.01,
            act_order: false,
        }
    }
}

/// GPTQ for the weights of certain inputs: column after column is rounded, and its error, weighted by
/// how inputs vary together, is taken from the columns behind it. Scales are those of least error on
/// the weights as they are when their block begins.
///
/// Source: Frantar et al. (2022), algorithm 1, <https://arxiv.org/abs/2210.17323>.
#[derive(Debug, Clone)]
pub struct Gptq {
    /// Columns in the order in which they are rounded.
    order: Vec<usize>,
    /// In the same order.
    factor: InverseFactor,
    /// How much each column counts, where scales are chosen before anything is rounded.
    static_scales: Option<Vec<f32>>,
}

impl Gptq {
    /// For weights that are multiplied with what is summed up in `hessian`; `None` where that cannot be
    /// factored even with the damping.
    pub fn new(hessian: &Hessian, config: &GptqConfig) -> Option<Self> {
        let mut order: Vec<usize> = (0..hessian.d_in()).collect();
        let static_scales = config.act_order.then(|| hessian.mean_squares());
        if let Some(importance) = &static_scales {
            order.sort_by(|a, b| importance[*b].total_cmp(&importance[*a]));
        }
        let factor = hessian.inverse_factor(&order, config.damping)?;
        Some(Self {
            order,
            factor,
            static_scales,
        })
    }

    /// Packs `weight`, `[out, in]`.
    ///
    /// # Errors
    /// As [`PackedMatrix::pack`].
    ///
    /// # Panics
    /// If the weight is not as wide as its inputs, or blocks reach over the end of a row.
    pub fn pack(&self, format: PackedFormat, weight: &[f32]) -> Result<PackedMatrix, PackError> {
        pack_rows(
            format,
            weight,
            self.order.len(),
            |block_len, weight, codes| {
                let plan = Plan {
                    gptq: self,
                    format,
                    block_len,
                };
                plan.round_rows(weight, codes)
            },
        )
    }
}

/// What all rows of a weight have in common.
struct Plan<'a> {
    gptq: &'a Gptq,
    format: PackedFormat,
    block_len: usize,
}

impl Plan<'_> {
    /// Rounds some rows, and gives the scales of their blocks.
    fn round_rows(&self, weight: &[f32], codes: &mut [u8]) -> Vec<BlockGrid> {
        let n_cols = self.gptq.order.len();
        let blocks_per_row = n_cols / self.block_len;
        let mut rows: Vec<Vec<f32>> = weight
            .chunks(n_cols)
            .map(|row| self.gptq.order.iter().map(|column| row[*column]).collect())
            .collect();
        let mut grids = match &self.gptq.static_scales {
            None => Vec::new(),
            Some(importance) => {
                let blocks = weight.chunks(self.block_len);
                let importance = importance.chunks(self.block_len).cycle();
                let fit = |(block, importance)| BlockGrid::fit(self.format, block, importance);
                blocks.zip(importance).map(fit).collect()
            }
        };
        grids.reserve(rows.len() * blocks_per_row - grids.len());
        let mut by_block: Vec<Vec<BlockGrid>> = Vec::new();
        for i in 0..n_cols {
            let (column, factor) = (self.gptq.order[i], self.gptq.factor.row(i));
            let (block, place) = (column / self.block_len, column % self.block_len);
            if self.gptq.static_scales.is_none() && place == 0 {
                by_block.push(self.fit(&rows, i));
            }
            for (r, row) in rows.iter_mut().enumerate() {
                let grid = match &self.gptq.static_scales {
                    Some(_) => &grids[r * blocks_per_row + block],
                    None => &by_block[block][r],
                };
                let (code, value) = grid.nearest(place, row[i]);
                codes[r * n_cols + column] = code;
                let error = (row[i] - value) / factor[0];
                for (x, u) in row[i + 1..].iter_mut().zip(&factor[1..]) {
                    *x -= error * u;
                }
            }
        }
        if self.gptq.static_scales.is_none() {
            let n_rows = rows.len();
            grids.extend((0..n_rows).flat_map(|r| by_block.iter().map(move |grids| grids[r])));
        }
        grids
    }

    /// Scales for the block of each row that begins at column `first`: a column counts as much as an
    /// error in it costs once the columns behind it have made good what they can.
    fn fit(&self, rows: &[Vec<f32>], first: usize) -> Vec<BlockGrid> {
        let block = first..first + self.block_len;
        let importance: Vec<f32> = block
            .clone()
            .map(|i| self.gptq.factor.row(i)[0].powi(-2))
            .collect();
        rows.iter()
            .map(|row| BlockGrid::fit(self.format, &row[block.clone()], &importance))
            .collect()
    }
}

#[cfg(test)]
mod tests;
