//! The gate of the feed-forward block.

use burn::tensor::{Tensor, activation};

/// `silu(gate) * up`; on the CPU and on a GPU in one pass forward and one backward.
///
/// Source: Shazeer (2020), equation 6, <https://arxiv.org/abs/2002.05202>.
///
/// # Shapes
/// `[batch, seq, d_ff]`, both and the result.
pub fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "cpu")]
    if let Some(y) = fused::swiglu(&gate, &up) {
        return y;
    }
    #[cfg(feature = "gpu")]
    if let Some(y) = crate::gpu::swiglu(&gate, &up) {
        return y;
    }
    swiglu_reference(gate, up)
}

/// The same by ordinary operations.
pub(crate) fn swiglu_reference(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    activation::silu(gate) * up
}

#[cfg(feature = "cpu")]
mod fused {
    use burn::backend::{Flex, flex::FlexTensor};
    use burn::tensor::Tensor;

    use super::super::flex_op::{shaped, values};
    use super::super::fused_op::{FusedOp, Input, apply};
    use crate::host::{self, SimdLevel};

    #[derive(Debug, Clone)]
    struct SwiGlu;

    pub(super) fn swiglu(gate: &Tensor<3>, up: &Tensor<3>) -> Option<Tensor<3>> {
        if gate.dims() != up.dims() {
            return None;
        }
        let autodiff = gate.is_autodiff() || up.is_autodiff();
        apply(
            SwiGlu,
            [Input::new(gate, autodiff), Input::new(up, autodiff)],
        )
    }

    impl FusedOp<Flex, 2> for SwiGlu {
        type Saved = [FlexTensor; 2];

        fn forward(&self, [gate, up]: [&FlexTensor; 2], _: [bool; 2]) -> (FlexTensor, Self::Saved) {
            let mut y = host::zeros(values(gate).len());
            host::swiglu_apart(SimdLevel::current(), values(gate), values(up), &mut y);
            (shaped(y, gate), [gate.clone(), up.clone()])
        }

        fn backward(
            &self,
            [gate, up]: Self::Saved,
            grad: &FlexTensor,
            _: [bool; 2],
        ) -> [Option<FlexTensor>; 2] {
            let n = values(&gate).len();
            let (mut d_gate, mut d_up) = (host::zeros(n), host::zeros(n));
            let inputs = [values(&gate), values(&up), values(grad)];
            host::swiglu_backward(SimdLevel::current(), inputs, &mut d_gate, &mut d_up);
            [Some(shaped(d_gate, &gate)), Some(shaped(d_up, &up))]
        }
    }
}
