//! A run under way: everything that changes from step to step besides the model.

mod ranks;

use std::{path::PathBuf, time::Duration};

use burn::module::Module;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    accumulate::{Part, StepBatch, accumulate},
    batch::BatchSource,
    checkpoint::{self, TrainState},
    clip::{clip_grad_value, scale_to_norm},
    config::TrainConfig,
    diagnose::Finding,
    distributed::{Reducer, Shares},
    early_stopping::EarlyStopping,
    ema::Ema,
    error::TrainError,
    grad_scaler::{GradScaler, GradScalerState},
    journal::Journal,
    metrics::Metric,
    module_params::{TrainableParam, device_of, trainable_params},
    observer::{Outcome, ParamSignal, RunPlan, StepRecord, TrainSummary},
    optimizer::Optimizer,
    param_groups::ParamGroups,
    probe::Probe,
    run_error::RunError,
    run_folder::{Best, RunFolder},
    signals::{BatchSignals, StepSignals},
    step::TrainStep,
    trainer::{Place, TrainHooks},
};

use ranks::{same_ranks, same_start};

/// What the loss scaler calls the one optimizer of a run.
const OPTIMIZER: &str = "optimizer";

pub(crate) struct Session<'a, M, S> {
    config: &'a TrainConfig,
    batches: &'a mut S,
    hooks: TrainHooks<'a, M>,
    optimizer: Box<dyn Optimizer>,
    journal: Journal,
    probe: Probe,
    scaler: Option<GradScaler>,
    groups: ParamGroups,
    ema: Option<Ema>,
    /// Where there are other ranks.
    reducer: Option<Reducer<'a>>,
    /// Where they keep the optimizer's state in shares.
    shares: Option<Shares<'a>>,
    /// Whether the other ranks no longer answer.
    is_left: bool,
    parts: Parts,
    /// Finished steps.
    n_done: usize,
    /// The source's state after the last finished step: a cancelled step has taken batches of the
    /// next one.
    position: Value,
    /// Of the tokens of the last finished step.
    fingerprint: Option<u64>,
    /// The step of the last checkpoint.
    saved: Option<usize>,
}

/// What changes as the run goes and is no tensor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Parts {
    best: Option<Best>,
    scaler: Option<GradScalerState>,
    stopping: EarlyStopping,
    n_ema_updates: u64,
    /// Where there is more than one: their batches are shares of this many.
    n_ranks: Option<usize>,
}

impl<'a, M, S> Session<'a, M, S>
where
    S: BatchSource,
    M: Module + TrainStep<S::Batch>,
{
    /// At the first step, or after the newest checkpoint.
    pub(crate) fn start(
        model: M,
        batches: &'a mut S,
        config: &'a TrainConfig,
        hooks: TrainHooks<'a, M>,
    ) -> Result<(Self, M), TrainError> {
        let plan = plan(&model, model.n_fixed_values(), config)?;
        let params = trainable_params(&model);
        let mut hooks = hooks;
        let reducer = hooks
            .world
            .filter(|world| world.n_ranks() > 1)
            .map(|world| Reducer::new(world, &params, device_of(&model)));
        let model = match &reducer {
            Some(reducer) => same_start(reducer, model, &*hooks.observer)?,
            None => model,
        };
        hooks.setup.n_adapter_params = n_adapter_params(&params);
        hooks.setup.scales_loss = config.loss_scaling.is_some();
        let has_folder = hooks.place.folder().is_some();
        let mut session = Self {
            config,
            optimizer: config.optimizer.init(),
            journal: Journal::start(plan.clone(), None)?,
            probe: Probe::new(&params),
            scaler: config.loss_scaling.map(|scaling| scaling.init()),
            groups: ParamGroups::resolve(&model, &config.groups)?,
            ema: config.ema.map(|ema| ema.init(&model)),
            parts: Parts {
                n_ranks: reducer.as_ref().map(|reducer| reducer.world.n_ranks()),
                ..Parts::default()
            },
            shares: reducer
                .as_ref()
                .filter(|_| config.shard_optimizer_state)
                .map(|reducer| Shares::new(reducer.world, &params, has_folder))
                .transpose()?,
            reducer,
            is_left: false,
            n_done: 0,
            position: batches.state(),
            batches,
            fingerprint: None,
            saved: None,
            hooks,
        };
        let model = match session.newest()? {
            Some((folder, step)) => session.resume(model, folder, step, plan)?,
            None => {
                session.journal = Journal::start(plan.clone(), session.own_folder())?;
                session.position = session.all_positions()?;
                session.hooks.observer.on_start(&plan);
                let setup = session.hooks.setup.clone();
                session.write(&Metric::Setup { setup })?;
                model
            }
        };
        Ok((session, model))
    }

    /// The checkpoint that the run goes on from; an error where a new run would bury an old one.
    fn newest(&self) -> Result<Option<(&'a RunFolder, usize)>, RunError> {
        match self.hooks.place {
            Place::Memory => Ok(None),
            Place::Resume(folder) => Ok(folder.checkpoints()?.pop().map(|step| (folder, step))),
            Place::New(folder) if self.leads() => folder.check_new().map(|()| None),
            Place::New(_) => Ok(None),
        }
    }

    fn resume(
        &mut self,
        model: M,
        folder: &RunFolder,
        step: usize,
        plan: RunPlan,
    ) -> Result<M, TrainError> {
        let dir = folder.checkpoint_path(step);
        let state = checkpoint::read_state(&dir)?;
        let json = |source| RunError::Json {
            path: dir.clone(),
            source,
        };
        same_config(&dir, &state.config, &as_json(self.config))?;
        let n_ranks = self.parts.n_ranks;
        self.parts = serde_json::from_value(state.parts.clone()).map_err(json)?;
        same_ranks(&dir, self.parts.n_ranks, n_ranks)?;
        if let (Some(scaler), Some(state)) = (&mut self.scaler, self.parts.scaler) {
            scaler.restore(state);
        }
        let position = match (&self.reducer, &state.batches) {
            (Some(reducer), Value::Array(ranks)) => {
                ranks.get(reducer.world.rank()).unwrap_or(&Value::Null)
            }
            (_, position) => position,
        };
        let restored = self.batches.restore(position);
        restored.map_err(|source| RunError::Batches {
            dir: dir.clone(),
            source,
        })?;
        let shares = self.shares.as_ref();
        let is_kept = |id| shares.is_none_or(|shares| shares.is_own(id));
        let model = checkpoint::restore(&dir, &state, model, &mut *self.optimizer, &is_kept)?;
        if let Some(ema) = &mut self.ema {
            ema.restore(self.parts.n_ema_updates, checkpoint::read_ema(&dir)?);
        }
        if self.leads() {
            folder.set_best(self.parts.best)?;
        }
        let plan = RunPlan {
            n_done_steps: state.step,
            ..plan
        };
        let before = Duration::from_secs_f64(state.elapsed_s);
        self.hooks.observer.on_start(&plan);
        self.journal = match self.leads() {
            true => Journal::resume(plan, folder, state.n_input_tokens, before)?,
            false => Journal::start(plan, None)?,
        };
        (self.n_done, self.saved) = (state.step, Some(state.step));
        self.position = state.batches;
        self.fingerprint = state.fingerprint;
        if self.leads() {
            self.check_data(&model, dir)?;
        }
        Ok(model)
    }

    pub(crate) fn n_done_steps(&self) -> usize {
        self.n_done
    }

    /// The next step's loss and gradients; `None` when the observer cancels.
    pub(crate) fn gradients(&mut self, model: &M) -> Result<Option<StepBatch>, TrainError> {
        let part = Part {
            step: self.n_done,
            n_accum_steps: self.config.n_accum_steps,
            loss_scale: self.scaler.as_ref().map(|scaler| scaler.scale().into()),
        };
        if self.any_cancelled()? {
            return Ok(None);
        }
        let observer = &*self.hooks.observer;
        let batch = accumulate(model, self.batches, part, observer, self.reducer.as_ref())?;
        // Cancelled in the middle of a step: the others were not asked.
        self.is_left |= batch.is_none();
        Ok(batch)
    }

    /// Makes the step, and writes it down.
    pub(crate) fn update(&mut self, model: M, mut batch: StepBatch) -> Result<M, TrainError> {
        let step = self.n_done;
        let mut record = StepRecord {
            step: step + 1,
            loss: batch.loss,
            learning_rate: self
                .config
                .schedule
                .learning_rate(step, self.config.n_steps),
            grad_norm: f64::NAN,
            n_tokens: batch.n_tokens,
            loss_scale: self.scaler.as_ref().map(|scaler| scaler.scale().into()),
            skipped: false,
        };
        if let Some(scaler) = &mut self.scaler {
            match record.loss.is_finite() {
                true => scaler.unscale(OPTIMIZER, &mut batch.gradients)?,
                false => scaler.note_overflow(OPTIMIZER),
            }
        }
        let params = self.probe.gradients(&mut batch);
        let sum: f64 = params.iter().map(|param| param.grad_norm.powi(2)).sum();
        if record.loss.is_finite() {
            record.grad_norm = sum.sqrt();
        }
        let is_finite = record.grad_norm.is_finite();
        if !is_finite && self.scaler.is_none() {
            return Err(self.not_finite(&record)?);
        }
        record.skipped = !is_finite;
        if let Some(max_norm) = self.config.max_grad_norm {
            scale_to_norm(&mut batch.gradients, record.grad_norm, max_norm);
        }
        if let Some(max_value) = self.config.max_grad_value {
            clip_grad_value(&mut batch.gradients, max_value);
        }
        self.probe.before(&model);
        let model = match is_finite {
            true => self.step_optimizer(model, &mut batch.gradients, record.learning_rate)?,
            false => model,
        };
        if let Some(ema) = &mut self.ema {
            ema.update(&model);
        }
        if let Some(scaler) = &mut self.scaler {
            scaler.update()?;
        }
        self.finish_step(&model, record, batch, params)?;
        Ok(model)
    }

    /// What is written down and told of a step that was made.
    fn finish_step(
        &mut self,
        model: &M,
        record: StepRecord,
        batch: StepBatch,
        params: Vec<ParamSignal>,
    ) -> Result<(), TrainError> {
        self.n_done += 1;
        self.position = self.all_positions()?;
        self.fingerprint = batch.contents.as_ref().map(|contents| contents.fingerprint);
        let n_input_tokens = batch.n_input_tokens;
        let signals = match record.skipped {
            true => StepSignals::default(),
            false => self.probe.signals(model, batch, &params),
        };
        let (report, findings) = self
            .journal
            .add(record, n_input_tokens, (params, signals))?;
        self.hooks.observer.on_step(&report);
        self.tell(&findings);
        Ok(())
    }

    /// A loss or a gradient that is not finite ends a run without loss scaling.
    fn not_finite(&mut self, record: &StepRecord) -> Result<TrainError, RunError> {
        let (step, learning_rate) = (record.step, record.learning_rate);
        let what = if record.loss.is_finite() {
            "gradient"
        } else {
            "loss"
        };
        self.write(&Metric::NonFinite {
            step,
            what: what.to_owned(),
        })?;
        Ok(match record.loss.is_finite() {
            false => TrainError::NonFiniteLoss {
                step,
                loss: record.loss,
                learning_rate,
                previous_loss: self.journal.previous_loss(),
            },
            true => TrainError::NonFiniteGradient {
                step,
                grad_norm: record.grad_norm,
                loss: record.loss,
                learning_rate,
            },
        })
    }

    /// Writes a line down, and tells what it shows.
    fn write(&mut self, metric: &Metric) -> Result<(), RunError> {
        let findings = self.journal.write(metric)?;
        self.tell(&findings);
        Ok(())
    }

    fn tell(&mut self, findings: &[Finding]) {
        for finding in findings {
            self.hooks.observer.on_finding(finding);
        }
    }

    /// Whether the last batch before the stop is still the same, where batches go by number.
    fn check_data(&mut self, model: &M, dir: PathBuf) -> Result<(), TrainError> {
        let step = self.n_done;
        let mut has_same_data = None;
        if self.position.is_null() && step > 0 {
            let n_accum_steps = self.config.n_accum_steps;
            let mut contents: Option<BatchSignals> = None;
            for index in (step - 1) * n_accum_steps..step * n_accum_steps {
                let batch = self.batches.batch(index);
                let batch = batch.map_err(|source| TrainError::Batch { index, source })?;
                BatchSignals::gather(&mut contents, model.describe(&batch));
            }
            let found = contents.map(|contents| contents.fingerprint);
            has_same_data = self.fingerprint.zip(found).map(|(then, now)| then == now);
        }
        self.write(&Metric::Resumed {
            step,
            has_same_data,
        })?;
        match has_same_data {
            Some(false) => Err(RunError::DataDiffers { path: dir, step }.into()),
            _ => Ok(()),
        }
    }

    /// Evaluates and saves where it is time; `false` when the run has got no better for long
    /// enough.
    pub(crate) fn look(&mut self, model: &M) -> Result<bool, TrainError> {
        let is_last = self.n_done == self.config.n_steps;
        let is_due = |every: usize| is_last || self.n_done.is_multiple_of(every);
        let evaluates = self
            .config
            .evaluation
            .as_ref()
            .is_some_and(|evaluation| is_due(evaluation.every_n_steps));
        let saves = is_due(self.config.checkpoints.every_n_steps);
        let (is_best, stops) = match evaluates {
            true => self.lead_evaluates(model)?,
            false => (false, false),
        };
        if saves || is_best || stops {
            self.save(model)?;
        }
        Ok(!stops)
    }

    /// Whether the model is the best so far, and whether it is time to give up. Where there is an
    /// average, that is scored.
    fn evaluate(&mut self, model: &M) -> Result<(bool, bool), TrainError> {
        let step = self.n_done;
        let model = match &self.ema {
            Some(ema) => ema.apply(model.clone()).valid(),
            None => model.valid(),
        };
        let mut score = || {
            let evaluation = self.hooks.evaluator.evaluate(&model, step);
            evaluation.map_err(|source| TrainError::Evaluation { step, source })
        };
        let evaluation = score()?;
        // Dropout that still draws shows in a second look at the same weights.
        let repeated_loss = match self.journal.is_scored() {
            true => None,
            false => Some(score()?.loss),
        };
        self.hooks.observer.on_evaluation(step, &evaluation);
        let loss = evaluation.loss;
        let findings = self
            .journal
            .add_evaluation(step, evaluation, repeated_loss)?;
        self.tell(&findings);
        let is_best = self.parts.best.is_none_or(|best| loss < best.loss);
        if is_best {
            self.parts.best = Some(Best { step, loss });
        }
        let stops = match &self.config.early_stopping {
            Some(config) => self.parts.stopping.take(loss, config),
            None => false,
        };
        Ok((is_best, stops))
    }

    /// Writes a checkpoint, where the run has a folder and this step has none yet.
    pub(crate) fn save(&mut self, model: &M) -> Result<(), TrainError> {
        if self.saved == Some(self.n_done) {
            return Ok(());
        }
        let Some(folder) = self.own_folder() else {
            return self.give_states();
        };
        if self.shares.is_some() && self.is_left {
            return Ok(()); // The others' states are lost: the last checkpoint stands.
        }
        let state = TrainState {
            version: checkpoint::VERSION,
            step: self.n_done,
            n_input_tokens: self.journal.n_input_tokens(),
            elapsed_s: self.journal.elapsed().as_secs_f64(),
            config: as_json(self.config),
            batches: self.position.clone(),
            parts: as_json(&Parts {
                scaler: self.scaler.as_ref().map(GradScaler::state),
                n_ema_updates: self.ema.as_ref().map_or(0, |ema| ema.state().0),
                ..self.parts.clone()
            }),
            n_updates: Default::default(),
            fingerprint: self.fingerprint,
        };
        let dir = folder.checkpoint_path(self.n_done);
        let ema = self.ema.as_ref();
        checkpoint::write(&dir, state, model, &*self.states(), ema)?;
        self.saved = Some(self.n_done);
        folder.set_best(self.parts.best)?;
        folder.rotate(self.config.checkpoints.n_kept, self.parts.best)?;
        self.hooks.observer.on_checkpoint(self.n_done);
        Ok(())
    }

    /// The model, averaged where the config asks for it and the run is at its end, and the account.
    pub(crate) fn finish(self, model: M, outcome: Outcome) -> (M, TrainSummary) {
        let model = match (self.ema, outcome) {
            (Some(ema), Outcome::Finished | Outcome::StoppedEarly) => ema.apply(model),
            _ => model,
        };
        (model, self.journal.finish(outcome))
    }
}

fn n_adapter_params(params: &[TrainableParam]) -> usize {
    params
        .iter()
        .filter(|param| param.path.contains("lora"))
        .count()
}

fn plan<M: Module>(
    model: &M,
    n_fixed_values: usize,
    config: &TrainConfig,
) -> Result<RunPlan, TrainError> {
    let params = trainable_params(model);
    let n_elements = |shape: &Vec<usize>| shape.iter().product::<usize>();
    match params.iter().map(|param| n_elements(&param.shape)).sum() {
        0 => Err(TrainError::NothingToTrain),
        n_trainable_params => Ok(RunPlan {
            n_steps: config.n_steps,
            n_trainable_params,
            n_params: model.num_params() + n_fixed_values,
            n_done_steps: 0,
        }),
    }
}

fn as_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("plain data has a JSON form")
}

/// Refuses a run that would go on otherwise than it began. When checkpoints are written and who keeps
/// what changes nothing, so it may be changed.
fn same_config(path: &std::path::Path, expected: &Value, found: &Value) -> Result<(), RunError> {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (expected, found) = (fields(expected), fields(found));
    for (field, now) in &found {
        let then = expected.get(field).unwrap_or(&Value::Null);
        let may_change = ["checkpoints", "shard_optimizer_state"].contains(&field.as_str());
        if !may_change && then != now {
            return Err(RunError::ConfigDiffers {
                path: path.to_owned(),
                field: field.clone(),
                expected: then.to_string(),
                found: now.to_string(),
            });
        }
    }
    Ok(())
}
