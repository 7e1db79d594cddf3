//! The batches of one step, together.

use burn::{module::Module, tensor::Tensor};

use crate::{
    batch::BatchSource,
    distributed::{Reducer, StepBuckets, WorldError},
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
    /// None without loss scaling.
    pub(crate) loss_scale: Option<f64>,
}

impl Part {
    /// What a batch's gradients are multiplied by after its backward pass: where the loss is scaled, the
    /// power of two next to its tokens.
    fn unit(&self, n_tokens: usize, n_batches: usize) -> f32 {
        match self.loss_scale {
            Some(_) if n_batches > 1 => (n_tokens.max(1) as f32).log2().round().exp2(),
            _ => 1.0,
        }
    }
}

/// Runs the batches of one step forward and backward, on all ranks where there are several; `None` when
/// the observer cancels.
///
/// The result is the one large batch's: each mean loss and its gradient are weighted by its tokens,
/// then divided by all tokens. A plain mean of means would favour short sequences. A part of
/// that weight waits until after the backward pass ([`Part::unit`]), so that in half precision gradients
/// are about as large as those of a step of one batch.
pub(crate) fn accumulate<M, S>(
    model: &M,
    batches: &mut S,
    part: Part,
    observer: &dyn Observer,
    reducer: Option<&Reducer<'_>>,
) -> Result<Option<StepBatch>, TrainError>
where
    S: BatchSource,
    M: Module + TrainStep<S::Batch>,
{
    let step = part.step + 1;
    let n_ranks = reducer.map_or(1, |reducer| reducer.world.n_ranks());
    let n_batches = part.n_accum_steps * n_ranks;
    let mut total = StepBatch::default();
    let mut buckets = None;
    for micro_step in 0..part.n_accum_steps {
        // Ranks are asked together, before the step.
        if reducer.is_none() && observer.is_cancelled() {
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
        let is_last = micro_step + 1 == part.n_accum_steps;
        if let Some(reducer) = reducer.filter(|_| is_last) {
            buckets = Some(reducer.begin(std::mem::take(&mut total.gradients)));
        }
        let hooked = match &buckets {
            Some(buckets) if !model.goes_backward_in_loss() => Some(buckets.hook(model.clone())),
            _ => None,
        };
        let watched = hooked.as_ref().unwrap_or(model);
        let rank = reducer.map_or(0, |reducer| reducer.world.rank());
        watched.set_batch_index((index * n_ranks + rank) as u64);
        let loss = watched.loss(&batch).map_err(failed)?;
        let unit = part.unit(loss.n_tokens, n_batches);
        if buckets.as_ref().is_some_and(|buckets| !buckets.open(unit)) {
            return Err(TrainError::BackwardInLoss { step });
        }
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
        let tokens = match n_batches {
            1 => 1.0,
            _ => loss.n_tokens as f64 / f64::from(unit),
        };
        let weight = tokens * part.loss_scale.unwrap_or(1.0);
        let mut gradients = gradients(loss.backward, weight, model);
        match &buckets {
            Some(buckets) => buckets.take(gradients),
            None => {
                if unit > 1.0 {
                    gradients.scale(unit);
                }
                total.gradients.add(gradients);
            }
        }
    }
    if let Some(reducer) = reducer {
        match sum_over_ranks(&mut total, buckets, reducer, observer) {
            Err(WorldError::Cancelled) => return Ok(None),
            result => result?,
        }
    }
    if total.n_tokens == 0 {
        return Err(TrainError::NoTokens { step });
    }
    if total.loss.is_finite() && total.gradients.is_empty() {
        return Err(TrainError::NoGradient { step });
    }
    total.loss /= total.n_tokens as f64;
    if n_batches > 1 {
        total.gradients.scale(1.0 / total.n_tokens as f32);
    }
    Ok(Some(total))
}

/// Those of `weight` times the loss.
fn gradients<M: Module>(loss: Tensor<1>, weight: f64, model: &M) -> ParamGradients {
    let weighted = match weight {
        1.0 => loss,
        weight => loss.mul_scalar(weight),
    };
    ParamGradients::collect(&mut weighted.backward(), model)
}

/// The step's sums over all ranks: the same on each.
fn sum_over_ranks(
    total: &mut StepBatch,
    buckets: Option<StepBuckets>,
    reducer: &Reducer<'_>,
    observer: &dyn Observer,
) -> Result<(), WorldError> {
    let is_cancelled = || observer.is_cancelled();
    // A rank whose loss is not finite has left the step, but the others wait for its buckets.
    let buckets = buckets.unwrap_or_else(|| reducer.begin(std::mem::take(&mut total.gradients)));
    total.gradients = reducer.finish(&buckets, &is_cancelled)?;
    let own = [
        total.loss,
        total.n_tokens as f64,
        total.n_input_tokens as f64,
    ];
    let sums = reducer.world.sum(own.to_vec(), &is_cancelled)?;
    (total.loss, total.n_tokens, total.n_input_tokens) =
        (sums[0], sums[1] as usize, sums[2] as usize);
    Ok(())
}
