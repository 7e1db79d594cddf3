//! How an operation of ours enters burn's queue of GPU operations.
//!
//! burn's tensors on a GPU are promises: fusion collects operations and runs them later. A kernel is
//! registered as one operation that fusion does not look into; when its turn comes, its inputs are
//! buffers.

use burn::backend::Cube;
use burn::backend::fusion::FusionBackend;
use burn::backend::fusion::FusionRuntime;
use burn::backend::fusion::custom::{
    CustomOpIr, HandleContainer, OperationFn, OperationIr, StreamId, TensorIr,
};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use crate::kernels::fused_op::KernelBackend;

/// A tensor of any type on a GPU, perhaps not computed yet.
pub(super) type GpuTensor = FloatTensor<Cube>;

type Handles =
    HandleContainer<<<CubeBackend as FusionBackend>::FusionRuntime as FusionRuntime>::FusionHandle>;

impl KernelBackend for Cube {
    /// As it is: buffers are made contiguous when an operation's turn comes.
    fn prepare(x: GpuTensor) -> GpuTensor {
        x
    }
}

/// Whether a tensor is f32 on a GPU, outside autodiff.
pub(crate) fn is_gpu_f32<const D: usize>(x: &Tensor<D>) -> bool {
    let plain = x.dtype() == DType::F32 && !x.is_autodiff();
    plain && x.clone().try_into_primitive::<Cube>().is_ok()
}

/// Queues `run`, which gets contiguous buffers and gives one for each of the `outputs`.
pub(super) fn queue<const N: usize, const M: usize>(
    name: &'static str,
    inputs: [GpuTensor; N],
    outputs: [(Shape, DType); M],
    run: impl Fn([CubeTensor; N]) -> [CubeTensor; M] + Send + Sync + 'static,
) -> [GpuTensor; M] {
    let client = inputs[0].client.clone();
    let inputs = inputs.map(GpuTensor::into_ir);
    let outputs =
        outputs.map(|(shape, dtype)| TensorIr::uninit(client.create_empty_handle(), shape, dtype));
    let ids = outputs.each_ref().map(|output| output.id);
    let description = CustomOpIr::new(name, &inputs, &outputs);
    let operation = OperationFn(move |handles: &mut Handles| {
        let buffers = inputs
            .each_ref()
            .map(|input| into_contiguous(handles.get_float_tensor::<CubeBackend>(input)));
        for (id, output) in ids.iter().zip(run(buffers)) {
            handles.register_float_tensor::<CubeBackend>(id, output);
        }
        Ok(())
    });
    let queued = client.register(
        StreamId::current(),
        OperationIr::Custom(description),
        operation,
    );
    <[GpuTensor; M]>::try_from(queued).expect("one tensor an output: this is a bug in burn-fusion")
}
