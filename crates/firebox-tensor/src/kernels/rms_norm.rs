//! Root-mean-square normalization.

use burn::tensor::Tensor;

/// `y = x / sqrt(mean(x²) + eps) * gamma` over the last axis; on the CPU and on a GPU in one pass
/// forward and one backward.
///
/// Source: Zhang and Sennrich (2019), equation 4, <https://arxiv.org/abs/1910.07467>.
///
/// # Shapes
/// `x` and the result `[batch, seq, d_model]`, `gamma` `[d_model]`.
pub fn rms_norm(x: Tensor<3>, gamma: Tensor<1>, eps: f64) -> Tensor<3> {
    #[cfg(feature = "cpu")]
    if let Some(y) = fused::rms_norm(&x, &gamma, eps as f32) {
        return y;
    }
    #[cfg(feature = "gpu")]
    if let Some(y) = crate::gpu::rms_norm(&x, &gamma, eps as f32) {
        return y;
    }
    rms_norm_reference(x, gamma, eps)
}

/// The same by ordinary operations.
pub(crate) fn rms_norm_reference(x: Tensor<3>, gamma: Tensor<1>, eps: f64) -> Tensor<3> {
    let mean_square = x.clone().square().mean_dim(2); // [batch, seq, 1]
    let inv_rms = mean_square.add_scalar(eps).sqrt().recip();
    x * inv_rms * gamma.unsqueeze()
}

#[cfg(feature = "cpu")]
mod fused {
    use burn::backend::{Flex, flex::FlexTensor};
    use burn::tensor::Tensor;

    use super::super::flex_op::{shaped, values};
    use super::super::fused_op::{FusedOp, Input, apply};
    use crate::host::{self, SimdLevel};

    #[derive(Debug, Clone)]
    struct RmsNorm {
        eps: f32,
    }

    pub(super) fn rms_norm(x: &Tensor<3>, gamma: &Tensor<1>, eps: f32) -> Option<Tensor<3>> {
        let autodiff = x.is_autodiff() || gamma.is_autodiff();
        let inputs = [Input::new(x, autodiff), Input::new(gamma, autodiff)];
        apply(RmsNorm { eps }, inputs)
    }

    impl FusedOp<Flex, 2> for RmsNorm {
        type Saved = [FlexTensor; 2];

        fn forward(&self, [x, gamma]: [&FlexTensor; 2], _: [bool; 2]) -> (FlexTensor, Self::Saved) {
            let mut y = host::zeros(values(x).len());
            host::rms_norm(
                SimdLevel::current(),
                values(x),
                values(gamma),
                self.eps,
                &mut y,
            );
            (shaped(y, x), [x.clone(), gamma.clone()])
        }

        fn backward(
            &self,
            [x, gamma]: Self::Saved,
            grad: &FlexTensor,
            [_, wants_gamma]: [bool; 2],
        ) -> [Option<FlexTensor>; 2] {
            let mut d_x = host::zeros(values(&x).len());
            let mut d_gamma = wants_gamma.then(|| vec![0.0; values(&gamma).len()]);
            let inputs = [values(&x), values(&gamma), values(grad)];
            let level = SimdLevel::current();
            host::rms_norm_backward(level, inputs, self.eps, &mut d_x, d_gamma.as_deref_mut());
            [Some(shaped(d_x, &x)), d_gamma.map(|d| shaped(d, &gamma))]
        }
    }
}
