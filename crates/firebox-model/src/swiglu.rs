//! The gated feed-forward block.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::linear::Linear;

/// `down(silu(gate(x)) * up(x))`.
///
/// Source: Shazeer (2020), equation 6, <https://arxiv.org/abs/2002.05202>.
#[derive(Module, Debug)]
pub struct SwiGlu {
    /// `[d_ff, d_model]`.
    pub gate_proj: Linear,
    /// `[d_ff, d_model]`.
    pub up_proj: Linear,
    /// `[d_model, d_ff]`.
    pub down_proj: Linear,
}

impl SwiGlu {
    /// # Shapes
    /// `[batch, seq, d_model]` in and out.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.down_proj.forward(self.gated(x))
    }

    /// What goes into `down_proj`: `[batch, seq, d_model]` to `[batch, seq, d_ff]`.
    pub(crate) fn gated(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone());
        let up = self.up_proj.forward(x);
        firebox_tensor::kernels::swiglu(gate, up)
    }
}
