//! `y = x Wᵀ`, with a path of its own for the few rows of decoding.

use burn::tensor::{DType, Tensor};

use super::precision::MatmulPrecision;

/// Multiplies rows by a weight in PyTorch's layout.
///
/// Up to eight rows in f32 on the CPU, outside autodiff, have a path of their own, bound by how fast the
/// weight can be read; the CPU's other products are blocked for its caches. Either way every output is
/// summed in a fixed order, so a row has the same bits in any batch that takes its path and on any
/// number of threads. Other devices run burn's matmul.
///
/// # Shapes
/// `x` `[rows, in]`, `weight` `[out, in]`, result `[rows, out]`.
///
/// # Panics
/// When the `in` of the two differ.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, precision: MatmulPrecision) -> Tensor<2> {
    let ([_, d_in], [_, weight_in]) = (x.dims(), weight.dims());
    assert_eq!(
        d_in, weight_in,
        "linear: the rows and the weight have one width"
    );
    #[cfg(feature = "cpu")]
    {
        let decoded = match precision {
            MatmulPrecision::F32 => few_rows::linear(&x, &weight),
            MatmulPrecision::Bf16 | MatmulPrecision::F16 => None,
        };
        if let Some(y) = decoded.or_else(|| on_flex::linear(&x, &weight, precision)) {
            return y;
        }
    }
    linear_reference(x, weight, precision)
}

/// The same by ordinary operations.
pub(crate) fn linear_reference(
    x: Tensor<2>,
    weight: Tensor<2>,
    precision: MatmulPrecision,
) -> Tensor<2> {
    matmul(x, weight.transpose(), precision)
}

/// Any device's product.
pub(super) fn matmul(a: Tensor<2>, b: Tensor<2>, precision: MatmulPrecision) -> Tensor<2> {
    match precision {
        MatmulPrecision::F32 => a.matmul(b),
        MatmulPrecision::Bf16 | MatmulPrecision::F16 => {
            let dtype = precision.dtype();
            a.cast(dtype).matmul(b.cast(dtype)).cast(DType::F32)
        }
    }
}

#[cfg(feature = "cpu")]
pub(super) mod few_rows {
    use burn::tensor::{Tensor, TensorData};

    use super::super::flex_op::{host_f32, is_host_f32, values};
    use super::super::packed_linear::Unpack;
    use crate::host;

    /// More rows than this go through gemm.
    const MAX_ROWS: usize = 8;

    fn are_few(x: &Tensor<2>) -> bool {
        (1..=MAX_ROWS).contains(&x.dims()[0]) && is_host_f32(x)
    }

    /// `None` when this is not a case for this path.
    pub(in super::super) fn unpacked_linear(
        x: &Tensor<2>,
        weight: &impl Unpack,
    ) -> Option<Tensor<2>> {
        let [d_out, d_in] = weight.shape();
        if !are_few(x) || d_in == 0 || d_out == 0 {
            return None;
        }
        let y = weight.few_rows(values(&host_f32(x.clone())))?;
        let y = TensorData::new(y, [x.dims()[0], d_out]);
        Some(Tensor::from_data(y, &x.device()))
    }

    /// As [`unpacked_linear`].
    pub(super) fn linear(x: &Tensor<2>, weight: &Tensor<2>) -> Option<Tensor<2>> {
        let ([rows, d_in], [d_out, _]) = (x.dims(), weight.dims());
        if !are_few(x) || d_in == 0 || d_out == 0 || !is_host_f32(weight) {
            return None;
        }
        let device = x.device();
        let (x, weight) = (host_f32(x.clone()), host_f32(weight.clone()));
        let weight = values(&weight);
        let y = host::few_rows(values(&x), [rows, d_in, d_out], |rows| {
            weight[rows.start * d_in..rows.end * d_in].into()
        });
        Some(Tensor::from_data(
            TensorData::new(y, [rows, d_out]),
            &device,
        ))
    }
}

/// The CPU's products. The weight's gradient is computed as `[out, in]`, not transposed afterwards, and
/// not at all for a frozen weight.
#[cfg(feature = "cpu")]
mod on_flex {
    use burn::backend::{Flex, flex::FlexTensor};
    use burn::tensor::Tensor;

    use super::super::fused_op::{FusedOp, Input, apply};
    use super::MatmulPrecision;

    #[derive(Debug, Clone)]
    pub(super) struct Linear(pub(super) MatmulPrecision);

    /// `None` where there is nothing to multiply, or not here.
    pub(super) fn linear(
        x: &Tensor<2>,
        weight: &Tensor<2>,
        precision: MatmulPrecision,
    ) -> Option<Tensor<2>> {
        let tracked = x.is_autodiff() || weight.is_autodiff();
        let empty = x.dims().contains(&0) || weight.dims().contains(&0);
        if empty {
            return None;
        }
        let inputs = [x, weight].map(|x| Input::new(x, tracked));
        apply(Linear(precision), inputs)
    }

    impl FusedOp<Flex, 2> for Linear {
        /// The weight, and `x` where the weight trains.
        type Saved = (FlexTensor, Option<FlexTensor>);

        fn forward(
            &self,
            [x, weight]: [&FlexTensor; 2],
            [_, wants_weight]: [bool; 2],
        ) -> (FlexTensor, Self::Saved) {
            let saved = (weight.clone(), wants_weight.then(|| x.clone()));
            (self.0.transposed(x, weight), saved)
        }

        fn backward(
            &self,
            (weight, x): Self::Saved,
            grad: &FlexTensor,
            [wants_x, _]: [bool; 2],
        ) -> [Option<FlexTensor>; 2] {
            [
                wants_x.then(|| self.0.product(grad, &weight)),
                x.map(|x| self.0.outer(grad, &x)),
            ]
        }
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use burn::backend::flex::FlexTensor;
    use burn::tensor::{Device, Distribution, Tensor, TensorData};
    use proptest::prelude::*;

    use super::super::fused_op::FusedOp;

    use super::*;

    #[test]
    fn an_input_is_kept_only_for_a_weight_that_trains() {
        let tensor = |shape: [usize; 2]| FlexTensor::from_data(TensorData::ones::<f32, _>(shape));
        let (x, weight) = (tensor([3, 4]), tensor([2, 4]));
        let op = on_flex::Linear(MatmulPrecision::F32);
        for wants_weight in [false, true] {
            let (_, (_, kept)) = op.forward([&x, &weight], [true, wants_weight]);
            assert_eq!(kept.is_some(), wants_weight);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        // The sums differ in order only: a few units in the last place of sums of some hundred terms.
        #[test]
        fn few_rows_match_the_reference(rows in 1_usize..10, d_in in 1_usize..300, d_out in 1_usize..200) {
            let device = Device::flex();
            let x = Tensor::<2>::random([rows, d_in], Distribution::Normal(0.0, 1.0), &device);
            let w = Tensor::<2>::random([d_out, d_in], Distribution::Normal(0.0, 1.0), &device);
            let fast = linear(x.clone(), w.clone(), MatmulPrecision::F32);
            let difference = (fast - linear_reference(x, w, MatmulPrecision::F32)).abs().max().into_scalar::<f32>();
            prop_assert!(difference < 1e-3, "{difference}");
        }

        #[test]
        fn a_row_has_the_same_bits_in_any_batch(rows in 2_usize..9, d_in in 1_usize..200, d_out in 1_usize..150) {
            let device = Device::flex();
            let x = Tensor::<2>::random([rows, d_in], Distribution::Normal(0.0, 1.0), &device);
            let w = Tensor::<2>::random([d_out, d_in], Distribution::Normal(0.0, 1.0), &device);
            let together = linear(x.clone(), w.clone(), MatmulPrecision::F32).into_data();
            let alone = (0..rows).map(|row| linear(x.clone().narrow(0, row, 1), w.clone(), MatmulPrecision::F32));
            let alone = Tensor::cat(alone.collect(), 0).into_data();
            prop_assert_eq!(together, alone);
        }
    }
}
