//! One step of AdamW on tensors.

use burn::tensor::{DType, Tensor};

/// The factors of one update, computed in f64 and rounded once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWFactors {
    /// `1 - lr * weight_decay`.
    pub keep: f32,
    /// `1 - beta_1`.
    pub lerp_first: f32,
    /// Decay of the running mean of squared gradients.
    pub beta_2: f32,
    /// `1 - beta_2`.
    pub one_minus_beta_2: f32,
    /// `sqrt(1 - beta_2^t)`.
    pub sqrt_bias_correction_2: f32,
    /// Added to the denominator.
    pub eps: f32,
    /// `lr / (1 - beta_1^t)`.
    pub step_size: f32,
}

/// Value, gradient, first and second moment to the next value and moments; on a GPU in one kernel,
/// and in the tensors' own memory where nobody else holds it.
///
/// ```text
/// m = m + lerp_first * (g - m)
/// v = beta_2 * v + one_minus_beta_2 * g^2
/// p = p * keep - step_size * m / (sqrt(v) / sqrt_bias_correction_2 + eps)
/// ```
///
/// Source: Loshchilov and Hutter (2019), algorithm 2, <https://arxiv.org/abs/1711.05101>.
pub fn adamw_step(tensors: [Tensor<1>; 4], factors: AdamWFactors) -> [Tensor<1>; 3] {
    #[cfg(feature = "gpu")]
    if crate::gpu::takes_adamw_step(&tensors) {
        return crate::gpu::adamw_step(tensors, factors);
    }
    adamw_step_reference(tensors, factors)
}

/// The same by ordinary operations.
pub(crate) fn adamw_step_reference(
    [p, g, m, v]: [Tensor<1>; 4],
    factors: AdamWFactors,
) -> [Tensor<1>; 3] {
    // Moments and arithmetic stay in f32 whatever the parameter's dtype.
    let dtype = p.dtype();
    let (p, g) = (p.cast(DType::F32), g.cast(DType::F32));
    let m = m.clone() + (g.clone() - m).mul_scalar(factors.lerp_first);
    let v = v.mul_scalar(factors.beta_2) + (g.clone() * g).mul_scalar(factors.one_minus_beta_2);
    let denominator = v
        .clone()
        .sqrt()
        .div_scalar(factors.sqrt_bias_correction_2)
        .add_scalar(factors.eps);
    let step = m.clone().mul_scalar(factors.step_size) / denominator;
    let p = p.mul_scalar(factors.keep) - step;
    [p.cast(dtype), m, v]
}
