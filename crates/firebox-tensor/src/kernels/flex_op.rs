//! Operations of our own on burn-flex's tensors, with and without autodiff.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Tensor, TensorData};

use super::pool::is_cpu;

/// An operation with its gradients. Tensors are f32 and contiguous.
pub(super) trait FlexOp<const N: usize>: Debug + Clone + Send + 'static {
    /// What the backward pass needs.
    type Saved: Debug + Clone + Send + 'static;

    fn forward(&self, inputs: [&FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// The gradient of each input that is `wanted`.
    fn backward(
        &self,
        saved: Self::Saved,
        grad: &FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N];
}

/// An input, in one of its two forms.
pub(super) enum Input {
    Plain(FlexTensor),
    Autodiff(FloatTensor<Autodiff<Flex>>),
}

impl Input {
    /// `None` when the tensor is not f32 on the CPU. With `autodiff`, a plain tensor is a constant.
    pub(super) fn new<const D: usize>(x: &Tensor<D>, autodiff: bool) -> Option<Self> {
        if x.dtype() != DType::F32 {
            return None;
        }
        let x = x.clone();
        if !autodiff {
            return x.try_into_primitive::<Flex>().ok().map(Self::Plain);
        }
        let x = if x.is_autodiff() {
            x
        } else {
            Tensor::from_inner(x)
        };
        let x = x.try_into_primitive::<Autodiff<Flex>>().ok()?;
        Some(Self::Autodiff(x))
    }
}

/// Applies an operation; `None` when an input is none, or the inputs are of both forms.
pub(super) fn apply<O: FlexOp<N>, const N: usize, const D: usize>(
    op: O,
    inputs: [Option<Input>; N],
) -> Option<Tensor<D>> {
    let (mut plain, mut tracked) = (Vec::with_capacity(N), Vec::with_capacity(N));
    for input in inputs {
        match input? {
            Input::Plain(x) => plain.push(x.to_contiguous()),
            Input::Autodiff(x) => tracked.push(x),
        }
    }
    if let Ok(inputs) = <[FlexTensor; N]>::try_from(plain) {
        let (y, _) = op.forward(inputs.each_ref());
        return Some(Tensor::from_primitive::<Flex>(y));
    }
    let inputs = <[FloatTensor<Autodiff<Flex>>; N]>::try_from(tracked).ok()?;
    let nodes = inputs.each_ref().map(|x| x.node());
    let inputs = inputs.map(|x| x.into_primitive().to_contiguous());
    let (y, saved) = op.forward(inputs.each_ref());
    let prepared = OpBackward(op).prepare::<NoCheckpointing>(nodes);
    let y = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(saved, y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

#[derive(Debug)]
struct OpBackward<O>(O);

impl<O: FlexOp<N>, const N: usize> Backward<Flex, N> for OpBackward<O> {
    type State = O::Saved;

    fn backward(self, ops: Ops<O::Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let results = self.0.backward(ops.state, &grad, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<Flex>(parent.id, grad);
            }
        }
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
