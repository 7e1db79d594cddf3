//! The training loop.

use crate::{
    batch::BatchSource,
    clip::{clip_grad_norm, grad_norm},
    config::TrainConfig,
    error::TrainError,
    gradients::ParamGradients,
    observer::{Observer, Outcome, RunPlan, StepRecord, StepReport, TrainSummary},
    optimizer::Optimizer,
    step::TrainStep,
};
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use std::time::{Duration, Instant};

/// Trains `model` on `batches`, and gives it back with an account of the run.
///
/// Every parameter that requires gradients is trained; the rest are left alone. A cancelled run
/// is no error: the model is returned as the last finished step left it.
///
/// # Errors
///
/// When the config is invalid, nothing is trainable, data is missing, or a loss or gradient is not
/// finite; the update that would have spread it is not made.
pub fn train<M, S>(
    model: M,
    batches: &mut S,
    config: &TrainConfig,
    observer: &mut dyn Observer,
) -> Result<(M, TrainSummary), TrainError>
where
    S: BatchSource,
    M: Module + TrainStep<S::Batch>,
{
    config.validate()?;
    let plan = plan(&model, config)?;
    observer.on_start(&plan);

    let mut model = model;
    let mut optimizer = config.optimizer.init();
    let mut journal = Journal::start(plan);
    for step in 0..config.n_steps {
        let learning_rate = config.schedule.learning_rate(step, config.n_steps);
        let Some(mut batch) = accumulate(&model, batches, config, step, observer)? else {
            return Ok((model, journal.finish(Outcome::Cancelled)));
        };
        let mut record = StepRecord {
            step: step + 1,
            loss: batch.loss,
            learning_rate,
            grad_norm: 0.0,
            n_tokens: batch.n_tokens,
        };
        journal.check_loss(&record)?;
        record.grad_norm = match config.max_grad_norm {
            Some(max_norm) => clip_grad_norm(&mut batch.gradients, max_norm),
            None => grad_norm(&mut batch.gradients),
        };
        check_gradient(&record)?;
        model = optimizer.step(model, &mut batch.gradients, learning_rate);
        observer.on_step(&journal.add(record, batch.n_input_tokens));
    }
    Ok((model, journal.finish(Outcome::Finished)))
}

/// The batches of one step, together.
struct StepBatch {
    gradients: ParamGradients,
    loss: f64,
    n_tokens: usize,
    n_input_tokens: usize,
}

/// Runs the batches of one step forward and backward; `None` when the observer cancels.
///
/// The result is the one large batch's: each mean loss and its gradient are weighted by its tokens,
/// then divided by all tokens. A plain mean of means would favour short sequences.
fn accumulate<M, S>(
    model: &M,
    batches: &mut S,
    config: &TrainConfig,
    step: usize,
    observer: &dyn Observer,
) -> Result<Option<StepBatch>, TrainError>
where
    S: BatchSource,
    M: Module + TrainStep<S::Batch>,
{
    let n_accum_steps = config.n_accum_steps;
    let mut total = StepBatch {
        gradients: ParamGradients::default(),
        loss: 0.0,
        n_tokens: 0,
        n_input_tokens: 0,
    };
    for micro_step in 0..n_accum_steps {
        if observer.is_cancelled() {
            return Ok(None);
        }
        let index = step * n_accum_steps + micro_step;
        let batch = batches
            .batch(index)
            .map_err(|source| TrainError::Batch { index, source })?;
        let loss = model
            .loss(&batch)
            .map_err(|source| TrainError::Loss { index, source })?;
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
            return Err(TrainError::NoGradient { step: step + 1 });
        }
        let weighted = match n_accum_steps {
            1 => loss.backward,
            _ => loss.backward.mul_scalar(loss.n_tokens as f64),
        };
        let gradients = ParamGradients::collect(&mut weighted.backward(), model);
        total.gradients.add(gradients);
    }
    if total.n_tokens == 0 {
        return Err(TrainError::NoTokens { step: step + 1 });
    }
    if total.loss.is_finite() && total.gradients.is_empty() {
        return Err(TrainError::NoGradient { step: step + 1 });
    }
    total.loss /= total.n_tokens as f64;
    if n_accum_steps > 1 {
        total.gradients.scale(1.0 / total.n_tokens as f32);
    }
    Ok(Some(total))
}

fn check_gradient(record: &StepRecord) -> Result<(), TrainError> {
    match record.grad_norm.is_finite() {
        true => Ok(()),
        false => Err(TrainError::NonFiniteGradient {
            step: record.step,
            grad_norm: record.grad_norm,
            loss: record.loss,
            learning_rate: record.learning_rate,
        }),
    }
}

fn plan<M: Module>(model: &M, config: &TrainConfig) -> Result<RunPlan, TrainError> {
    let mut counter = TrainableCounter { n_params: 0 };
    model.visit(&mut counter);
    match counter.n_params {
        0 => Err(TrainError::NothingToTrain),
        n_trainable_params => Ok(RunPlan {
            n_steps: config.n_steps,
            n_trainable_params,
            n_params: model.num_params(),
        }),
    }
}

struct TrainableCounter {
    n_params: usize,
}

impl ModuleVisitor for TrainableCounter {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.base();
        if value.is_require_grad() {
            self.n_params += value.shape().num_elements();
        }
    }
}

/// Keeps the records and the time.
struct Journal {
    plan: RunPlan,
    started: Instant,
    steps: Vec<StepRecord>,
    n_input_tokens: usize,
}

impl Journal {
    fn start(plan: RunPlan) -> Self {
        Self {
            steps: Vec::new(),
            plan,
            started: Instant::now(),
            n_input_tokens: 0,
        }
    }

    fn check_loss(&self, record: &StepRecord) -> Result<(), TrainError> {
        match record.loss.is_finite() {
            true => Ok(()),
            false => Err(TrainError::NonFiniteLoss {
                step: record.step,
                loss: record.loss,
                learning_rate: record.learning_rate,
                previous_loss: self.steps.last().map(|previous| previous.loss),
            }),
        }
    }

    fn add(&mut self, record: StepRecord, n_input_tokens: usize) -> StepReport {
        self.steps.push(record.clone());
        self.n_input_tokens += n_input_tokens;
        let elapsed = self.started.elapsed();
        let n_left = self.plan.n_steps - self.steps.len();
        let seconds_per_step = elapsed.as_secs_f64() / self.steps.len() as f64;
        StepReport {
            record,
            n_steps: self.plan.n_steps,
            tokens_per_s: self.tokens_per_s(elapsed),
            elapsed,
            eta: Duration::from_secs_f64(seconds_per_step * n_left as f64),
        }
    }

    fn finish(self, outcome: Outcome) -> TrainSummary {
        let elapsed = self.started.elapsed();
        TrainSummary {
            outcome,
            n_trainable_params: self.plan.n_trainable_params,
            n_tokens: self.steps.iter().map(|record| record.n_tokens).sum(),
            n_input_tokens: self.n_input_tokens,
            elapsed_s: elapsed.as_secs_f64(),
            tokens_per_s: self.tokens_per_s(elapsed),
            steps: self.steps,
        }
    }

    fn tokens_per_s(&self, elapsed: Duration) -> f64 {
        self.n_input_tokens as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
