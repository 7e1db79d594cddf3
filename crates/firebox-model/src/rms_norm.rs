//! Root-mean-square normalization.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// Root-mean-square normalization over the last axis.
///
/// `y = x / sqrt(mean(x^2) + eps) * gamma`, with the mean taken in f32.
///
/// Source: Zhang and Sennrich (2019), equation 4, <https://arxiv.org/abs/1910.07467>.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// Learned gain, `[d_model]`, starts at 1.
    pub gamma: Param<Tensor<1>>,
    /// Added inside the root.
    pub eps: f64,
}

impl RmsNorm {
    /// A norm with a gain of ones.
    pub fn new(d_model: usize, eps: f64, device: &Device) -> Self {
        Self {
            gamma: Param::from_tensor(Tensor::ones([d_model], device)),
            eps,
        }
    }

    /// # Shapes
    /// `[batch, seq, d_model]` in and out.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        firebox_tensor::kernels::rms_norm(x, self.gamma.val(), self.eps)
    }
}
