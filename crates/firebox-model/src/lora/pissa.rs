//! Adapters that begin as the principal part of a weight.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use faer::Mat;

use super::LoraFactors;
use crate::error::ModelError;
use crate::linear::host_f32;

/// The factors that a layer began with: what was taken from its weight.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    a: Tensor<2>,
    b: Tensor<2>,
}

impl Principal {
    /// The `rank` largest singular values of a weight, `[out, in]`, in two factors: with
    /// `W = U diag(σ) Vᵀ`, `A = diag(√(σ / scaling)) Vᵀ` and `B = U diag(√(σ / scaling))`, so that
    /// `scaling · B A` is the part of `W` that they make up.
    ///
    /// Source: Meng et al. (2024), equations 2 to 4, <https://arxiv.org/abs/2404.02948>.
    pub(super) fn of(
        layer: &str,
        weight: &Tensor<2>,
        rank: usize,
        scaling: f64,
    ) -> Result<Self, ModelError> {
        let [d_out, d_in] = weight.dims();
        let device = weight.device();
        let failed = |what: String| ModelError::Lora {
            what: format!("layer `{layer}`: {what}"),
            hint: "start the adapter as usual, without `pissa`".to_owned(),
        };
        if rank > d_out.min(d_in) || scaling <= 0.0 {
            return Err(failed(format!(
                "expected a rank of at most {} and alpha above 0 for PiSSA, found {rank} and a scaling \
                 of {scaling}",
                d_out.min(d_in)
            )));
        }
        let values = host_f32(weight.clone());
        let matrix = Mat::from_fn(d_out, d_in, |row, column| {
            f64::from(values[row * d_in + column])
        });
        let svd = matrix
            .thin_svd()
            .map_err(|_| failed("its singular values were not found".to_owned()))?;
        let (u, v, s) = (svd.U(), svd.V(), svd.S().column_vector());
        let root = |i: usize| (s[i] / scaling).sqrt();
        let a = (0..rank).flat_map(|i| (0..d_in).map(move |column| (i, column)));
        let a: Vec<f32> = a
            .map(|(i, column)| (v[(column, i)] * root(i)) as f32)
            .collect();
        let b = (0..d_out).flat_map(|row| (0..rank).map(move |i| (row, i)));
        let b: Vec<f32> = b.map(|(row, i)| (u[(row, i)] * root(i)) as f32).collect();
        let tensor = |values, shape| Tensor::from_data(TensorData::new(values, shape), &device);
        Ok(Self {
            a: tensor(a, [rank, d_in]),
            b: tensor(b, [d_out, rank]),
        })
    }

    /// A fresh adapter of it.
    pub(super) fn factors(&self, scaling: f64) -> LoraFactors {
        LoraFactors {
            principal: Some(self.clone()),
            ..LoraFactors::new(self.a.clone(), self.b.clone(), scaling)
        }
    }

    /// What is left of the weight without it.
    pub(super) fn residual(&self, weight: Tensor<2>, scaling: f64) -> Param<Tensor<2>> {
        let part = self.b.clone().matmul(self.a.clone()).mul_scalar(scaling);
        Param::from_tensor(weight - part).set_require_grad(false)
    }

    /// The factors of what was learned beside the whole weight: `B A - B₀ A₀ = [B, -B₀] [A; A₀]`.
    pub(super) fn learned(&self, a: Tensor<2>, b: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (a0, b0) = (self.a.clone(), self.b.clone().neg());
        (Tensor::cat(vec![a, a0], 0), Tensor::cat(vec![b, b0], 1))
    }
}
