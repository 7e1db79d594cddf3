//! What a weight is multiplied with, summed up: how much an error in each column costs, and how an
//! error in one is made good in others.

use burn::tensor::{Device, Tensor};
use faer::{Mat, Par, Side, linalg::triangular_inverse::invert_lower_triangular};
use firebox_model::host_f32;
use firebox_tensor::kernels::{MatmulPrecision, add_outer};

/// `H = Σ x xᵀ` over the rows `x` that a weight is multiplied with. The squared error of a layer's
/// output is `Σ (ΔW x)² = tr(ΔW H ΔWᵀ)`.
#[derive(Debug)]
pub struct Hessian {
    /// `[in, in]`.
    sum: Tensor<2>,
    n_rows: usize,
}

/// The upper triangular `U` with `H⁻¹ = Uᵀ U`, row-major `[n, n]`; see [`Hessian::inverse_factor`].
#[derive(Debug, Clone, PartialEq)]
pub struct InverseFactor {
    pub(crate) n: usize,
    pub(crate) values: Vec<f32>,
}

impl Hessian {
    /// Of no rows, for a weight of `d_in` columns.
    pub fn new(d_in: usize, device: &Device) -> Self {
        let sum = Tensor::zeros([d_in, d_in], device);
        Self { sum, n_rows: 0 }
    }

    /// Adds rows `[rows, in]`.
    pub fn add(&mut self, x: Tensor<2>) {
        self.n_rows += x.dims()[0];
        let none = Tensor::zeros([1, 1], &x.device());
        let sum = std::mem::replace(&mut self.sum, none);
        self.sum = add_outer(sum, x.clone(), x, MatmulPrecision::F32);
    }

    /// Columns of the weight.
    pub fn d_in(&self) -> usize {
        self.sum.dims()[0]
    }

    /// Rows added.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The matrix, `[in, in]`.
    pub fn sum(&self) -> Tensor<2> {
        self.sum.clone()
    }

    /// `tr(W H Wᵀ)`: the squares of all outputs `W x` summed, for a weight `[out, in]`.
    pub fn squared_outputs(&self, weight: Tensor<2>) -> f64 {
        let sum: f32 = (weight.clone().matmul(self.sum()) * weight)
            .sum()
            .into_scalar();
        f64::from(sum.max(0.0))
    }

    /// Mean square of what each column is multiplied with, `[in]`.
    pub fn mean_squares(&self) -> Vec<f32> {
        let (n, values) = (self.d_in(), self.values());
        let n_rows = self.n_rows.max(1) as f32;
        (0..n).map(|i| values[i * n + i] / n_rows).collect()
    }

    /// The factor of the inverse of `H + damping · mean(diag H) · I`, its rows and columns in this
    /// `order`; in f64. `None` where it is not positive definite, or not finite: `damping` is too small.
    ///
    /// With `P` the reversal of rows and columns and `P H P = L Lᵀ`, the matrix `R = P L P` is upper
    /// triangular and `H = R Rᵀ`, so that `U = R⁻¹`: one factorization and one inversion of a triangle.
    ///
    /// Source: Frantar et al. (2022), section 3.3, step 3, <https://arxiv.org/abs/2210.17323>; there by
    /// three factorizations.
    pub fn inverse_factor(&self, order: &[usize], damping: f64) -> Option<InverseFactor> {
        let (n, values) = (self.d_in(), self.values());
        let at = |i: usize, j: usize| f64::from(values[order[i] * n + order[j]]);
        let mean = (0..n).map(|i| at(i, i)).sum::<f64>() / n.max(1) as f64;
        // Where nothing was ever seen, any error is as good as another.
        let least = if mean > 0.0 { mean } else { 1.0 };
        let reversed = Mat::from_fn(n, n, |i, j| {
            let (i, j) = (n - 1 - i, n - 1 - j);
            match (i == j, at(i, i)) {
                (true, 0.0) => least * (1.0 + damping),
                (true, diagonal) => diagonal + damping * least,
                _ => at(i, j),
            }
        });
        let factor = reversed.llt(Side::Lower).ok()?;
        let mut inverse = Mat::zeros(n, n);
        invert_lower_triangular(inverse.as_mut(), factor.L(), Par::Seq);
        let mut values = vec![0.0; n * n];
        for i in 0..n {
            for j in i..n {
                values[i * n + j] = inverse[(n - 1 - i, n - 1 - j)] as f32;
            }
        }
        let finite = (0..n).all(|i| values[i * n + i].is_normal());
        finite.then_some(InverseFactor { n, values })
    }

    fn values(&self) -> Vec<f32> {
        host_f32(self.sum())
    }
}

impl InverseFactor {
    /// Row `i` from the diagonal on.
    pub(crate) fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.n + i..(i + 1) * self.n]
    }
}

#[cfg(test)]
pub(crate) mod tests;
