//! A gradient that is known already enters the graph.

use burn::tensor::Tensor;

/// A scalar, of no value in itself, whose gradient with respect to `x` is `gradient`: what
/// `(x * gradient).sum()` would be, without computing it.
///
/// # Shapes
/// `x` and `gradient` the same; the result `[1]`.
pub fn gradient_source<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "cpu")]
    if let Some(source) = fused::gradient_source(&x, &gradient) {
        return source;
    }
    (x * gradient).sum()
}

#[cfg(feature = "cpu")]
mod fused {
    use burn::backend::{Flex, flex::FlexTensor, ops::FloatTensorOps};
    use burn::tensor::{Tensor, TensorData};

    use super::super::flex_op::values;
    use super::super::fused_op::{FusedOp, Input, apply};

    #[derive(Debug, Clone)]
    struct Source {
        gradient: FlexTensor,
    }

    pub(super) fn gradient_source<const D: usize>(
        x: &Tensor<D>,
        gradient: &Tensor<D>,
    ) -> Option<Tensor<1>> {
        if !x.is_autodiff() || x.dims() != gradient.dims() {
            return None;
        }
        let gradient = gradient.clone().inner().try_into_primitive::<Flex>().ok()?;
        apply(Source { gradient }, [Input::new(x, true)])
    }

    impl FusedOp<Flex, 1> for Source {
        type Saved = ();

        fn forward(&self, _: [&FlexTensor; 1], _: [bool; 1]) -> (FlexTensor, ()) {
            (
                FlexTensor::from_data(TensorData::new(vec![0.0_f32], [1])),
                (),
            )
        }

        fn backward(&self, (): (), grad: &FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
            let factor = values(grad)[0];
            let gradient = self.gradient.clone();
            // One, unless the loss was scaled.
            [Some(if factor == 1.0 {
                gradient
            } else {
                Flex::float_mul_scalar(gradient, factor.into())
            })]
        }
    }
}
