//! What the inputs of a weight come from, and what can be divided out of them there.

use burn::module::Param;
use burn::tensor::Tensor;

use crate::linear::Linear;
use crate::rms_norm::RmsNorm;

/// What the inputs of some weights come from. Dividing it by scales, while the columns of those weights
/// are multiplied by them, leaves what the weights compute as it is.
#[derive(Debug)]
pub struct Producer<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    /// Its gains.
    Norm(&'a mut RmsNorm),
    /// Input `i` is in proportion to row `rows[i]` of the weight.
    Rows {
        linear: &'a mut Linear,
        rows: Vec<usize>,
    },
}

impl<'a> Producer<'a> {
    pub(super) fn norm(norm: &'a mut RmsNorm) -> Self {
        Self(Kind::Norm(norm))
    }

    /// Each input is a row.
    pub(super) fn rows(linear: &'a mut Linear) -> Self {
        let rows = (0..linear.shape()[0]).collect();
        Self(Kind::Rows { linear, rows })
    }

    /// Each input is a row of the values of its head, which several queries' heads share.
    pub(super) fn values(
        linear: &'a mut Linear,
        [n_heads, n_kv_heads, head_dim]: [usize; 3],
    ) -> Self {
        let row = |i: usize| (i / head_dim * n_kv_heads / n_heads) * head_dim + i % head_dim;
        let rows = (0..n_heads * head_dim).map(row).collect();
        Self(Kind::Rows { linear, rows })
    }

    /// For each input the index of the scale that it can be divided by; inputs of one index share it.
    pub fn scale_of_input(&self) -> Vec<usize> {
        match &self.0 {
            Kind::Norm(norm) => (0..norm.gamma.dims()[0]).collect(),
            Kind::Rows { rows, .. } => rows.clone(),
        }
    }

    /// Divides by one scale for each index.
    ///
    /// # Panics
    /// When there are more or fewer.
    pub fn divide(&mut self, scales: Tensor<1>) {
        match &mut self.0 {
            Kind::Norm(norm) => norm.gamma = Param::from_tensor(norm.gamma.val() / scales),
            Kind::Rows { linear, .. } => linear.scale_rows(scales.recip()),
        }
    }
}

impl Linear {
    /// Multiplies each row of the weight, and its bias, by a factor; the weight then is dense, on the
    /// device of the factors.
    ///
    /// # Panics
    /// When there is not one factor for each row.
    fn scale_rows(&mut self, factors: Tensor<1>) {
        let [n_rows, _] = self.shape();
        let weight = self.weight.to_dense(&factors.device());
        let bias = self.bias.as_ref().map(|bias| bias.val() * factors.clone());
        *self = Self::dense(weight * factors.reshape([n_rows, 1]), bias);
    }

    /// Multiplies each column of the weight by a factor; the weight then is dense, on the device of the
    /// factors.
    ///
    /// # Panics
    /// When there is not one factor for each column.
    pub fn scale_columns(&mut self, factors: Tensor<1>) {
        let [_, n_cols] = self.shape();
        let weight = self.weight.to_dense(&factors.device()) * factors.reshape([1, n_cols]);
        self.set_weight(weight);
    }
}
