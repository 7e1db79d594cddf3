//! Operations of our own on one backend's tensors, with and without autodiff.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, DispatchKindConversion, DispatchTensor};
use burn::tensor::{DType, Tensor};

/// A backend that has such operations.
pub(crate) trait KernelBackend: Backend {
    /// The tensor as the backend's operations take it.
    fn prepare(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// An operation with its gradients. Tensors are f32, and as [`KernelBackend::prepare`] leaves them.
pub(crate) trait FusedOp<B: KernelBackend, const N: usize>:
    Debug + Clone + Send + 'static
{
    /// What the backward pass needs.
    type Saved: Debug + Clone + Send + 'static;

    /// The result, and what is needed for the gradient of each input that is `wanted`.
    fn forward(
        &self,
        inputs: [&FloatTensor<B>; N],
        wanted: [bool; N],
    ) -> (FloatTensor<B>, Self::Saved);

    /// The gradient of each input that is `wanted`.
    fn backward(
        &self,
        saved: Self::Saved,
        grad: &FloatTensor<B>,
        wanted: [bool; N],
    ) -> [Option<FloatTensor<B>>; N];
}

/// An input, in one of its two forms.
pub(crate) enum Input<B: KernelBackend> {
    Plain(FloatTensor<B>),
    Autodiff(FloatTensor<Autodiff<B>>),
}

impl<B: KernelBackend> Input<B>
where
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
{
    /// `None` when the tensor is not f32 on this backend. With `autodiff`, a plain tensor is a
    /// constant.
    pub(crate) fn new<const D: usize>(x: &Tensor<D>, autodiff: bool) -> Option<Self> {
        if x.dtype() != DType::F32 {
            return None;
        }
        let x = x.clone();
        if !autodiff {
            return x.try_into_primitive::<B>().ok().map(Self::Plain);
        }
        let x = if x.is_autodiff() {
            x
        } else {
            Tensor::from_inner(x)
        };
        let x = x.try_into_primitive::<Autodiff<B>>().ok()?;
        Some(Self::Autodiff(x))
    }
}

/// Applies an operation; `None` when an input is none, or the inputs are of both forms.
pub(crate) fn apply<O, B, const N: usize, const D: usize>(
    op: O,
    inputs: [Option<Input<B>>; N],
) -> Option<Tensor<D>>
where
    B: KernelBackend,
    O: FusedOp<B, N>,
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
{
    let (mut plain, mut tracked) = (Vec::with_capacity(N), Vec::with_capacity(N));
    for input in inputs {
        match input? {
            Input::Plain(x) => plain.push(B::prepare(x)),
            Input::Autodiff(x) => tracked.push(x),
        }
    }
    if let Ok(inputs) = <[FloatTensor<B>; N]>::try_from(plain) {
        let (y, _) = op.forward(inputs.each_ref(), [false; N]);
        return Some(Tensor::from_primitive::<B>(y));
    }
    let inputs = <[FloatTensor<Autodiff<B>>; N]>::try_from(tracked).ok()?;
    let nodes = inputs.each_ref().map(|x| x.node());
    let wanted = inputs.each_ref().map(|x| x.is_tracked());
    let inputs = inputs.map(|x| B::prepare(x.into_primitive()));
    let (y, saved) = op.forward(inputs.each_ref(), wanted);
    let prepared = OpBackward(op).prepare::<NoCheckpointing>(nodes);
    let y = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(saved, y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<B>>(y))
}

#[derive(Debug)]
struct OpBackward<O>(O);

impl<B: KernelBackend, O: FusedOp<B, N>, const N: usize> Backward<B, N> for OpBackward<O> {
    type State = O::Saved;

    fn backward(self, ops: Ops<O::Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = B::prepare(grads.consume::<B>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let results = self.0.backward(ops.state, &grad, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}
