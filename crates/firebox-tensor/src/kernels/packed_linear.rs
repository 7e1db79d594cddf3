//! `y = x Wᵀ` over a packed weight on the device of the rows.

use burn::tensor::{Device, Tensor, TensorData};

use super::linear::linear_reference;
use super::precision::MatmulPrecision;
use crate::packed::PackedMatrix;

/// The copy of a packed weight on the device that last multiplied with it; none at first. Clones
/// share it.
#[derive(Debug, Clone, Default)]
pub struct PackedOnDevice {
    #[cfg(feature = "gpu")]
    copy: std::sync::Arc<std::sync::Mutex<Option<crate::gpu::GpuPacked>>>,
}

impl PackedOnDevice {
    /// Multiplies rows by a weight that stays packed: it is unpacked inside the product, and so it
    /// is in the gradient of the rows. `None` where there is no kernel for the device or the format.
    ///
    /// # Shapes
    /// `x` `[rows, in]`, the result `[rows, out]`.
    pub fn linear(&self, x: &Tensor<2>, matrix: &PackedMatrix) -> Option<Tensor<2>> {
        #[cfg(feature = "gpu")]
        return self.linear_on_gpu(x, matrix);
        #[cfg(not(feature = "gpu"))]
        {
            let _ = (x, matrix);
            None
        }
    }

    #[cfg(feature = "gpu")]
    fn linear_on_gpu(&self, x: &Tensor<2>, matrix: &PackedMatrix) -> Option<Tensor<2>> {
        use std::sync::PoisonError;

        use crate::gpu::{GpuPacked, packed_linear};

        let device = x.device().inner();
        if super::is_cpu(&device) {
            return None;
        }
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        if copy.as_ref().is_none_or(|copy| *copy.device() != device) {
            *copy = Some(GpuPacked::new(matrix, &device)?);
        }
        packed_linear(x, copy.as_ref()?)
    }
}

/// Multiplies rows by a packed weight that is unpacked for this product.
///
/// On the CPU it is unpacked again for the gradient of the rows, and not kept between the two: a model
/// of packed layers is never unpacked as a whole. Elsewhere these are ordinary operations, which keep it.
///
/// # Shapes
/// `x` `[rows, in]`, `matrix` `[out, in]`, the result `[rows, out]`.
///
/// # Panics
/// When the `in` of the two differ.
pub fn unpacked_linear(
    x: Tensor<2>,
    matrix: &PackedMatrix,
    precision: MatmulPrecision,
) -> Tensor<2> {
    assert_eq!(
        x.dims()[1],
        matrix.n_cols(),
        "unpacked_linear: the rows and the weight have one width"
    );
    #[cfg(feature = "cpu")]
    if let Some(y) = on_flex::unpacked_linear(&x, matrix, precision) {
        return y;
    }
    let dense = unpacked(matrix, &x.device().inner());
    linear_reference(x, dense, precision)
}

/// A packed weight as floating point on `device`, `[out, in]`.
pub fn unpacked(matrix: &PackedMatrix, device: &Device) -> Tensor<2> {
    let shape = [matrix.n_rows(), matrix.n_cols()];
    Tensor::from_data(TensorData::new(matrix.unpack(), shape), device)
}

#[cfg(feature = "cpu")]
mod on_flex {
    use burn::backend::{Flex, flex::FlexTensor};
    use burn::tensor::{Tensor, TensorData};

    use super::super::fused_op::{FusedOp, Input, apply};
    use super::{MatmulPrecision, PackedMatrix};

    #[derive(Debug, Clone)]
    struct UnpackedLinear {
        matrix: PackedMatrix,
        precision: MatmulPrecision,
    }

    /// `None` where there is nothing to multiply, or not here.
    pub(super) fn unpacked_linear(
        x: &Tensor<2>,
        matrix: &PackedMatrix,
        precision: MatmulPrecision,
    ) -> Option<Tensor<2>> {
        let is_empty = x.dims().contains(&0) || matrix.n_rows() == 0;
        if is_empty {
            return None;
        }
        let op = UnpackedLinear {
            matrix: matrix.clone(), // Shares the bytes.
            precision,
        };
        apply(op, [Input::new(x, x.is_autodiff())])
    }

    impl UnpackedLinear {
        fn dense(&self) -> FlexTensor {
            let shape = [self.matrix.n_rows(), self.matrix.n_cols()];
            FlexTensor::from_data(TensorData::new(self.matrix.unpack(), shape))
        }
    }

    impl FusedOp<Flex, 1> for UnpackedLinear {
        type Saved = ();

        fn forward(&self, [x]: [&FlexTensor; 1]) -> (FlexTensor, ()) {
            (self.precision.transposed(x, &self.dense()), ())
        }

        fn backward(
            &self,
            (): (),
            grad: &FlexTensor,
            [wants_x]: [bool; 1],
        ) -> [Option<FlexTensor>; 1] {
            [wants_x.then(|| self.precision.product(grad, &self.dense()))]
        }
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use burn::tensor::Distribution;
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::linear;
    use crate::packed::PackedFormat;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        // The same products over the same values: the same bits.
        #[test]
        fn unpacked_products_are_those_of_the_dense_weight(rows in 1_usize..40, d_out in 1_usize..70, blocks in 1_usize..4) {
            let (device, d_in) = (Device::flex().autodiff(), blocks * 64);
            let normal = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
            let weight = normal([d_out, d_in]).inner().into_data().try_to_vec::<f32>().unwrap();
            let matrix = PackedMatrix::pack(PackedFormat::Nf4, &weight, d_out, d_in).unwrap();
            let dense = unpacked(&matrix, &device);
            let (x, grad) = (normal([rows, d_in]), normal([rows, d_out]));
            for precision in MatmulPrecision::ALL {
                let pull = |op: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                    let x = x.clone().inner().autodiff().require_grad();
                    let y = op(x.clone());
                    let grads = (y.clone() * grad.clone()).sum().backward();
                    (y.inner().into_data(), x.grad(&grads).unwrap().into_data())
                };
                let found = pull(&|x| unpacked_linear(x, &matrix, precision));
                let expected = pull(&|x| linear(x, dense.clone(), precision));
                prop_assert_eq!(found, expected);
                let alone = unpacked_linear(x.clone().inner(), &matrix, precision).into_data();
                prop_assert_eq!(alone, pull(&|x| unpacked_linear(x, &matrix, precision)).0);
            }
        }
    }
}
