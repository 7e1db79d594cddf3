//! burn-flex's tensors as slices.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor, TensorData};

use super::fused_op::KernelBackend;
use super::pool::is_cpu;

impl KernelBackend for Flex {
    /// Contiguous.
    fn prepare(x: FlexTensor) -> FlexTensor {
        x.to_contiguous()
    }
}

/// Whether a tensor is f32 on the CPU, outside autodiff.
pub(super) fn is_host_f32<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && !x.is_autodiff() && is_cpu(&x.device())
}

/// Such a tensor, contiguous; the only holder of its memory where the caller was.
pub(super) fn host_f32<const D: usize>(x: Tensor<D>) -> FlexTensor {
    let x = x.try_into_primitive::<Flex>().expect("a tensor on the CPU");
    x.to_contiguous()
}

/// The values of a contiguous f32 tensor.
pub(super) fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice().expect("contiguous f32")
}

/// Values as a tensor of the shape of `like`.
pub(super) fn shaped(values: Vec<f32>, like: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, like.layout().shape().clone()))
}
