//! A linear layer with a low-rank side path, as one operation.
//!
//! Source: Hu et al. (2021), section 4.1, <https://arxiv.org/abs/2106.09685>.

use burn::tensor::Tensor;

use super::linear::linear;
use super::packed_linear::{Unpack, unpacked_linear};
use super::precision::MatmulPrecision;

/// The factors of a side path.
#[derive(Debug, Clone)]
pub struct LoraPath {
    /// `[rank, in]`.
    pub a: Tensor<2>,
    /// `[out, rank]`.
    pub b: Tensor<2>,
    /// What the path is multiplied by.
    pub scaling: f64,
}

/// `x Wᵀ + scaling · (x Aᵀ) Bᵀ`. The narrow products are computed in f32, and on the CPU added where
/// the wide one lies: nothing `[rows, out]` is held or read but the result.
///
/// # Shapes
/// `x` `[rows, in]`, `weight` `[out, in]`, result `[rows, out]`.
///
/// # Panics
/// When the shapes do not fit.
pub fn lora_linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    path: LoraPath,
    precision: MatmulPrecision,
) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if let Some(y) = on_flex::lora_linear(&x, &weight, &path, precision) {
        return y;
    }
    linear(x.clone(), weight, precision) + path.apply(x)
}

/// The same over a weight that is unpacked for this product, and again for its gradient.
///
/// # Panics
/// When the shapes do not fit.
pub fn unpacked_lora_linear(
    x: Tensor<2>,
    weight: &impl Unpack,
    path: LoraPath,
    precision: MatmulPrecision,
) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if let Some(y) = on_flex::unpacked_lora_linear(&x, weight, &path, precision) {
        return y;
    }
    unpacked_linear(x.clone(), weight, precision) + path.apply(x)
}

impl LoraPath {
    /// `scaling · (x Aᵀ) Bᵀ` by ordinary operations: `[rows, in]` to `[rows, out]`. `B A` is never
    /// formed.
    pub fn apply(self, x: Tensor<2>) -> Tensor<2> {
        let down = x.matmul(self.a.transpose()); // [rows, rank]
        down.mul_scalar(self.scaling).matmul(self.b.transpose()) // [rows, out]
    }
}

#[cfg(feature = "cpu")]
mod on_flex {
    use burn::backend::flex::FlexTensor;
    use burn::backend::{Flex, ops::FloatTensorOps};
    use burn::tensor::Tensor;

    use super::super::flex_op::values;
    use super::super::fused_op::{FusedOp, Input, apply};
    use super::super::packed_linear::Unpack;
    use super::super::packed_linear::on_flex::{product, transposed};
    use super::super::precision::on_cpu::dims;
    use super::{LoraPath, MatmulPrecision};
    use crate::host::{self, SimdLevel};

    #[derive(Debug, Clone)]
    struct LoraLinear {
        scaling: f32,
        precision: MatmulPrecision,
    }

    /// Over a constant.
    #[derive(Debug, Clone)]
    struct UnpackedLoraLinear<W> {
        layer: LoraLinear,
        weight: W,
    }

    /// `None` when a tensor is not f32 on the CPU, or has no values, and outside autodiff in f32, where
    /// few rows have a path of their own.
    pub(super) fn lora_linear(
        x: &Tensor<2>,
        weight: &Tensor<2>,
        path: &LoraPath,
        precision: MatmulPrecision,
    ) -> Option<Tensor<2>> {
        let inputs = [x, weight, &path.a, &path.b];
        let tracked = inputs.iter().any(|x| x.is_autodiff());
        if !is_meant(&inputs, tracked, precision) {
            return None;
        }
        let scaling = path.scaling as f32;
        apply(
            LoraLinear { scaling, precision },
            inputs.map(|x| Input::new(x, tracked)),
        )
    }

    /// As [`lora_linear`].
    pub(super) fn unpacked_lora_linear(
        x: &Tensor<2>,
        weight: &impl Unpack,
        path: &LoraPath,
        precision: MatmulPrecision,
    ) -> Option<Tensor<2>> {
        let inputs = [x, &path.a, &path.b];
        let tracked = inputs.iter().any(|x| x.is_autodiff());
        if !is_meant(&inputs, tracked, precision) {
            return None;
        }
        let scaling = path.scaling as f32;
        let op = UnpackedLoraLinear {
            layer: LoraLinear { scaling, precision },
            weight: weight.clone(),
        };
        apply(op, inputs.map(|x| Input::new(x, tracked)))
    }

    fn is_meant(inputs: &[&Tensor<2>], tracked: bool, precision: MatmulPrecision) -> bool {
        let is_empty = inputs.iter().any(|x| x.dims().contains(&0));
        !is_empty && (tracked || precision != MatmulPrecision::F32)
    }

    /// `x Wᵀ` of narrow factors, times a number.
    fn scaled(x: FlexTensor, scaling: f32) -> FlexTensor {
        Flex::float_mul_scalar(x, scaling.into())
    }

    impl LoraLinear {
        /// The result, added to `y = x Wᵀ`, and `scaling · x Aᵀ`.
        fn add_path(
            &self,
            mut y: FlexTensor,
            [x, a, b]: [&FlexTensor; 3],
        ) -> (FlexTensor, FlexTensor) {
            let down = scaled(MatmulPrecision::F32.transposed(x, a), self.scaling);
            let [n_rows, rank] = dims(&down);
            let (sizes, level) = ([n_rows, dims(b)[0], rank], SimdLevel::current());
            host::add_matmul_transposed(level, values(&down), values(b), sizes, y.storage_mut());
            (y, down)
        }

        /// The gradients of `x`, A and B; `through_weight` is `∂L/∂y W`.
        fn gradients(
            &self,
            [x, a, b, down]: [&FlexTensor; 4],
            through_weight: impl FnOnce() -> FlexTensor,
            grad: &FlexTensor,
            [wants_x, wants_a, wants_b]: [bool; 3],
        ) -> [Option<FlexTensor>; 3] {
            // scaling · ∂L/∂y B, [rows, rank].
            let grad_down = scaled(MatmulPrecision::F32.product(grad, b), self.scaling);
            let d_x = wants_x.then(|| {
                let [n_rows, rank] = dims(&grad_down);
                let (sizes, level) = ([n_rows, dims(x)[1], rank], SimdLevel::current());
                let mut d_x = through_weight();
                host::add_matmul(
                    level,
                    values(&grad_down),
                    values(a),
                    sizes,
                    d_x.storage_mut(),
                );
                d_x
            });
            [
                d_x,
                wants_a.then(|| MatmulPrecision::F32.outer(&grad_down, x)),
                wants_b.then(|| MatmulPrecision::F32.outer(grad, down)),
            ]
        }
    }

    impl FusedOp<Flex, 4> for LoraLinear {
        /// `x`, the weight, A, B, and `scaling · x Aᵀ`.
        type Saved = [FlexTensor; 5];

        fn forward(
            &self,
            [x, weight, a, b]: [&FlexTensor; 4],
            _: [bool; 4],
        ) -> (FlexTensor, Self::Saved) {
            let y = self.precision.transposed(x, weight);
            let (y, down) = self.add_path(y, [x, a, b]);
            (y, [x, weight, a, b, &down].map(Clone::clone))
        }

        fn backward(
            &self,
            [x, weight, a, b, down]: Self::Saved,
            grad: &FlexTensor,
            [wants_x, wants_weight, wants_a, wants_b]: [bool; 4],
        ) -> [Option<FlexTensor>; 4] {
            let wanted = [wants_x, wants_a, wants_b];
            let through_weight = || self.precision.product(grad, &weight);
            let [d_x, d_a, d_b] = self.gradients([&x, &a, &b, &down], through_weight, grad, wanted);
            let d_weight = wants_weight.then(|| self.precision.outer(grad, &x));
            [d_x, d_weight, d_a, d_b]
        }
    }

    impl<W: Unpack> FusedOp<Flex, 3> for UnpackedLoraLinear<W> {
        /// `x`, A, B, and `scaling · x Aᵀ`.
        type Saved = [FlexTensor; 4];

        fn forward(&self, [x, a, b]: [&FlexTensor; 3], _: [bool; 3]) -> (FlexTensor, Self::Saved) {
            let y = transposed(self.layer.precision, x, &self.weight);
            let (y, down) = self.layer.add_path(y, [x, a, b]);
            (y, [x, a, b, &down].map(Clone::clone))
        }

        fn backward(
            &self,
            saved: Self::Saved,
            grad: &FlexTensor,
            wanted: [bool; 3],
        ) -> [Option<FlexTensor>; 3] {
            let through_weight = || product(self.layer.precision, grad, &self.weight);
            let saved = saved.each_ref();
            self.layer.gradients(saved, through_weight, grad, wanted)
        }
    }
}
