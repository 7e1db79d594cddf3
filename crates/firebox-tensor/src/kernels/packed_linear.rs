//! `y = x Wᵀ` over a weight that is not held in f32, on the device of the rows.

use burn::tensor::{Device, Tensor, TensorData};

#[cfg(feature = "cpu")]
use super::linear::few_rows;
use super::linear::linear_reference;
use super::precision::MatmulPrecision;
use crate::HalfMatrix;
use crate::packed::PackedMatrix;

/// A frozen weight that is unpacked to be multiplied with. Clones share its bytes.
pub trait Unpack: Clone + std::fmt::Debug + Send + 'static {
    /// `[out, in]`.
    fn shape(&self) -> [usize; 2];

    /// Its values, row-major.
    fn values(&self) -> Vec<f32>;

    /// `x Wᵀ` for a few rows, with the bits of [`linear`](super::linear) over the values; `None` where
    /// there is no faster way than to unpack.
    fn few_rows(&self, _x: &[f32]) -> Option<Vec<f32>> {
        None
    }

    /// `x Wᵀ`, a block of the weight at a time, with the bits of a product with the values; `None` as
    /// above.
    fn transposed(&self, _x: &[f32], _precision: MatmulPrecision) -> Option<Vec<f32>> {
        None
    }

    /// `x W`, likewise.
    fn product(&self, _x: &[f32], _precision: MatmulPrecision) -> Option<Vec<f32>> {
        None
    }
}

impl Unpack for PackedMatrix {
    fn shape(&self) -> [usize; 2] {
        [self.n_rows(), self.n_cols()]
    }

    fn values(&self) -> Vec<f32> {
        self.unpack()
    }
}

impl Unpack for HalfMatrix {
    fn shape(&self) -> [usize; 2] {
        [self.n_rows(), self.n_cols()]
    }

    fn values(&self) -> Vec<f32> {
        self.unpack()
    }

    fn few_rows(&self, x: &[f32]) -> Option<Vec<f32>> {
        Some(self.matmul(x))
    }

    fn transposed(&self, x: &[f32], precision: MatmulPrecision) -> Option<Vec<f32>> {
        self.many_rows(x, precision)
    }

    fn product(&self, x: &[f32], precision: MatmulPrecision) -> Option<Vec<f32>> {
        self.many_rows_back(x, precision)
    }
}

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

/// Multiplies rows by a weight that is unpacked for this product.
///
/// On the CPU it is unpacked again for the gradient of the rows, and not kept between the two: a model
/// of such layers is never in f32 as a whole. Elsewhere these are ordinary operations, which keep it.
///
/// # Shapes
/// `x` `[rows, in]`, `weight` `[out, in]`, the result `[rows, out]`.
///
/// # Panics
/// When the `in` of the two differ.
pub fn unpacked_linear(
    x: Tensor<2>,
    weight: &impl Unpack,
    precision: MatmulPrecision,
) -> Tensor<2> {
    assert_eq!(
        x.dims()[1],
        weight.shape()[1],
        "unpacked_linear: the rows and the weight have one width"
    );
    #[cfg(feature = "cpu")]
    {
        let few = match precision {
            MatmulPrecision::F32 => few_rows::unpacked_linear(&x, weight),
            MatmulPrecision::Bf16 | MatmulPrecision::F16 => None,
        };
        if let Some(y) = few.or_else(|| on_flex::unpacked_linear(&x, weight, precision)) {
            return y;
        }
    }
    let dense = unpacked(weight, &x.device().inner());
    linear_reference(x, dense, precision)
}

/// A weight as f32 on `device`, `[out, in]`.
pub fn unpacked(weight: &impl Unpack, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(weight.values(), weight.shape()), device)
}

#[cfg(feature = "cpu")]
pub(super) mod on_flex {
    use burn::backend::{Flex, flex::FlexTensor};
    use burn::tensor::{Tensor, TensorData};

    use super::super::flex_op::values;
    use super::super::fused_op::{FusedOp, Input, apply};
    use super::super::precision::on_cpu::{dims, tensor};
    use super::{MatmulPrecision, Unpack};

    #[derive(Debug, Clone)]
    struct UnpackedLinear<W> {
        weight: W,
        precision: MatmulPrecision,
    }

    /// `None` where there is nothing to multiply, or not here.
    pub(super) fn unpacked_linear(
        x: &Tensor<2>,
        weight: &impl Unpack,
        precision: MatmulPrecision,
    ) -> Option<Tensor<2>> {
        if x.dims().contains(&0) || weight.shape()[0] == 0 {
            return None;
        }
        let op = UnpackedLinear {
            weight: weight.clone(),
            precision,
        };
        apply(op, [Input::new(x, x.is_autodiff())])
    }

    /// The weight for one product.
    fn dense(weight: &impl Unpack) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(weight.values(), weight.shape()))
    }

    /// `x Wᵀ`.
    pub(in super::super) fn transposed(
        precision: MatmulPrecision,
        x: &FlexTensor,
        weight: &impl Unpack,
    ) -> FlexTensor {
        match weight.transposed(values(x), precision) {
            Some(y) => tensor(y, [dims(x)[0], weight.shape()[0]]),
            None => precision.transposed(x, &dense(weight)),
        }
    }

    /// `x W`.
    pub(in super::super) fn product(
        precision: MatmulPrecision,
        x: &FlexTensor,
        weight: &impl Unpack,
    ) -> FlexTensor {
        match weight.product(values(x), precision) {
            Some(y) => tensor(y, [dims(x)[0], weight.shape()[1]]),
            None => precision.product(x, &dense(weight)),
        }
    }

    impl<W: Unpack> FusedOp<Flex, 1> for UnpackedLinear<W> {
        type Saved = ();

        fn forward(&self, [x]: [&FlexTensor; 1], _: [bool; 1]) -> (FlexTensor, ()) {
            (transposed(self.precision, x, &self.weight), ())
        }

        fn backward(
            &self,
            (): (),
            grad: &FlexTensor,
            [wants_x]: [bool; 1],
        ) -> [Option<FlexTensor>; 1] {
            [wants_x.then(|| product(self.precision, grad, &self.weight))]
        }
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use burn::tensor::Distribution;
    use proptest::prelude::*;

    use super::*;
    use crate::host::test_turn;
    use crate::kernels::linear;
    use crate::packed::PackedFormat;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        // The same products over the same values: the same bits.
        #[test]
        fn unpacked_products_are_those_of_the_dense_weight(rows in 1_usize..40, d_out in 1_usize..70, blocks in 1_usize..4) {
            let _turn = test_turn();
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
