//! The batches of one step, together.

use burn::module::Module;

use crate::{
    batch::BatchSource,
    error::TrainError,
    gradients::ParamGradients,
    observer::Observer,
    signals::{BatchSignals, Leaks},
    step::TrainStep,
};

/// Loss and gradients over all batches of a step.
#[derive(Debug, Default)]
pub(crate) struct StepBatch {
    pub(crate) gradients: ParamGradients,
    /// Mean over `n_tokens`.
    pub(crate) loss: f64,
    pub(crate) n_tokens: usize,
    pub(crate) n_input_tokens: usize,
    /// Counts over the batches' tokens, where they are made of tokens.
    pub(crate) contents: Option<BatchSignals>,
    /// How far the outputs move with what they must not see; of the run's first batch.
    pub(crate) leaks: Option<Leaks>,
}

/// Which batches, and what their losses are multiplied by before the backward pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// The step, from 0.
    pub(crate) step: usize,
    /// Batches a step.
    pub(crate) n_accum_steps: usize,
    /// 1 without loss scaling.
    pub(crate) loss_scale: f64,
}

/// Runs the batches of one step forward and backward; `None` when the observer cancels.
///
/// The result is the one large batch's: each mean loss and its gradient are weighted by its tokens,
/// then divided by all tokens. A plain mean of means would favour short sequences.
pub(crate) fn accumulate<M, S>(
    model: &M,
    batches: &mut S,
    part: Part,
    observer: &dyn Observer,
) -> Result<Option<StepBatch>, TrainError>
where
    S: BatchSource,
    M: Module + TrainStep<S::Batch>,
{
    let step = part.step + 1;
    let mut total = StepBatch::default();
    for micro_step in 0..part.n_accum_steps {
        if observer.is_cancelled() {
            return Ok(None);
        }
        let index = part.step * part.n_accum_steps + micro_step;
        let batch = batches
            .batch(index)
            .map_err(|source| TrainError::Batch { index, source })?;
        let failed = |source| TrainError::Loss { index, source };
        BatchSignals::gather(&mut total.contents, model.describe(&batch));
        if index == 0 {
            total.leaks = model.leaks(&batch).map_err(failed)?;
        }
        model.set_batch_index(index as u64);
        let loss = model.loss(&batch).map_err(failed)?;
        total.n_input_tokens += loss.n_input_tokens;
        if loss.n_tokens == 0 {
            continue;
        }
        total.n_tokens += loss.n_tokens;
        total.loss += loss.value * loss.n_tokens as f64;
        if !loss.value.is_finite() {
            break; // The caller reports it; its gradient would be thrown away.
        }
        if !loss.backward.is_tracked() {
            return Err(TrainError::NoGradient { step });
        }
        let tokens = match part.n_accum_steps {
            1 => 1.0,
            _ => loss.n_tokens as f64,
        };
        let weighted = match tokens * part.loss_scale {
            1.0 => loss.backward,
            weight => loss.backward.mul_scalar(weight),
        };
        let gradients = ParamGradients::collect(&mut weighted.backward(), model);
        total.gradients.add(gradients);
    }
    if total.n_tokens == 0 {
        return Err(TrainError::NoTokens { step });
    }
    if total.loss.is_finite() && total.gradients.is_empty() {
        return Err(TrainError::NoGradient { step });
    }
    total.loss /= total.n_tokens as f64;
    if part.n_accum_steps > 1 {
        total.gradients.scale(1.0 / total.n_tokens as f32);
    }
    Ok(Some(total))
}
