//! The one thing a model must do to be trained.

use burn::tensor::{Device, Tensor};

use crate::{
    error::LossError,
    signals::{BatchSignals, Leaks},
};

/// A module with a loss over one batch.
///
/// # Examples
///
/// ```
/// use burn::{module::Module, nn::Linear, tensor::Tensor};
/// use firebox_train::{LossError, StepLoss, TrainStep};
///
/// #[derive(Module, Debug)]
/// struct Regression {
///     layer: Linear,
/// }
///
/// /// Inputs `[batch, d_input]` and targets `[batch, d_output]`.
/// type Pairs = (Tensor<2>, Tensor<2>);
///
/// impl TrainStep<Pairs> for Regression {
///     fn loss(&self, (inputs, targets): &Pairs) -> Result<StepLoss, LossError> {
///         let errors = self.layer.forward(inputs.clone()) - targets.clone();
///         Ok(StepLoss::from_mean(errors.powi_scalar(2).mean(), targets.dims()[0]))
///     }
/// }
/// ```
pub trait TrainStep<B> {
    /// The mean loss of `batch`, ready for the backward pass.
    ///
    /// # Errors
    ///
    /// When the batch does not fit the model.
    fn loss(&self, batch: &B) -> Result<StepLoss, LossError>;

    /// Told the number of the batch, from 0, before its loss is asked for. Modules that draw random
    /// numbers, as dropout does, draw by it: a resumed run then draws the same ones.
    fn set_batch_index(&self, _index: u64) {}

    /// Whether [`TrainStep::loss`] runs backward passes of its own, as activation checkpointing does.
    /// Over several ranks, gradients are then summed after the backward pass, not during it.
    fn goes_backward_in_loss(&self) -> bool {
        false
    }

    /// Values of the model that are no parameters of the module, such as packed weights: they count as
    /// its size.
    fn n_fixed_values(&self) -> usize {
        0
    }

    /// Counts over a batch's tokens, for the detectors of [`crate::diagnose`]; `None` for batches
    /// that are not made of tokens.
    fn describe(&self, _batch: &B) -> Option<BatchSignals> {
        None
    }

    /// How far the outputs move with tokens that they must not see, for the detectors of
    /// [`crate::diagnose`]; asked once, at the first step. `None` where the question makes no sense.
    ///
    /// # Errors
    ///
    /// When the batch does not fit the model.
    fn leaks(&self, _batch: &B) -> Result<Option<Leaks>, LossError> {
        Ok(None)
    }
}

/// A mean loss and the tensor to differentiate.
///
/// The two are apart so that a model may compute its loss in pieces, outside the autodiff graph,
/// and hand over a surrogate whose gradient is the loss's gradient although its value is not.
#[derive(Debug, Clone)]
pub struct StepLoss {
    /// The mean over the tokens that count; for a language model, their negative log-likelihood in
    /// nats.
    pub value: f64,
    /// How many tokens (or samples) the mean is over: its weight when batches are accumulated. 0
    /// leaves the batch out.
    pub n_tokens: usize,
    /// How many tokens went through the model, prompt and padding included: what throughput counts.
    pub n_input_tokens: usize,
    /// `[1]`; its gradient is the gradient of `value`.
    pub backward: Tensor<1>,
}

impl StepLoss {
    /// A loss whose value was computed apart from the tensor that carries its gradient.
    pub fn new(value: f64, n_tokens: usize, backward: Tensor<1>) -> Self {
        Self {
            value,
            n_tokens,
            n_input_tokens: n_tokens,
            backward,
        }
    }

    /// An ordinary mean, `[1]`, over `n_tokens`.
    pub fn from_mean(mean: Tensor<1>, n_tokens: usize) -> Self {
        let value = mean.clone().inner().into_scalar::<f64>();
        Self::new(value, n_tokens, mean)
    }

    /// A batch in which no token has a loss.
    pub(crate) fn nothing(n_input_tokens: usize, device: &Device) -> Self {
        let zero = Tensor::zeros([1], device);
        Self::new(0.0, 0, zero).with_input_tokens(n_input_tokens)
    }

    /// Says how many tokens went through the model, where that is more than those with a loss.
    pub fn with_input_tokens(mut self, n_input_tokens: usize) -> Self {
        self.n_input_tokens = n_input_tokens;
        self
    }
}
