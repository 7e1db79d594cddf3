//! The account of a run: records and time, in memory and in the run's folder.

use std::time::{Duration, Instant};

use crate::{
    error::TrainError,
    evaluation::Evaluation,
    metrics::{Metric, MetricsLog},
    observer::{Outcome, ParamSignal, RunPlan, StepRecord, StepReport, TrainSummary},
    run_error::RunError,
    run_folder::RunFolder,
};

/// Keeps the records and the time.
#[derive(Debug)]
pub(crate) struct Journal {
    plan: RunPlan,
    /// When this process began, and how long the run had gone on before.
    started: Instant,
    before: Duration,
    steps: Vec<StepRecord>,
    evaluations: Vec<(usize, Evaluation)>,
    n_input_tokens: usize,
    log: Option<MetricsLog>,
}

impl Journal {
    /// Of a run at its first step.
    pub(crate) fn start(plan: RunPlan, folder: Option<&RunFolder>) -> Result<Self, RunError> {
        let log = folder.map(|folder| MetricsLog::create(&folder.metrics_path()));
        Ok(Self {
            steps: Vec::new(),
            evaluations: Vec::new(),
            plan,
            started: Instant::now(),
            before: Duration::ZERO,
            n_input_tokens: 0,
            log: log.transpose()?,
        })
    }

    /// Of a run that goes on after `plan.n_done_steps`.
    pub(crate) fn resume(
        plan: RunPlan,
        folder: &RunFolder,
        n_input_tokens: usize,
        before: Duration,
    ) -> Result<Self, RunError> {
        let (log, metrics) = MetricsLog::resume(&folder.metrics_path(), plan.n_done_steps)?;
        let (mut steps, mut evaluations) = (Vec::new(), Vec::new());
        for metric in metrics {
            match metric {
                Metric::Step { record, .. } => steps.push(record),
                Metric::Evaluation { step, evaluation } => evaluations.push((step, evaluation)),
            }
        }
        Ok(Self {
            plan,
            started: Instant::now(),
            before,
            steps,
            evaluations,
            n_input_tokens,
            log: Some(log),
        })
    }

    /// The run's time so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    pub(crate) fn n_input_tokens(&self) -> usize {
        self.n_input_tokens
    }

    pub(crate) fn check_loss(&self, record: &StepRecord) -> Result<(), TrainError> {
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

    pub(crate) fn add(
        &mut self,
        record: StepRecord,
        n_input_tokens: usize,
        params: Vec<ParamSignal>,
    ) -> Result<StepReport, RunError> {
        self.steps.push(record.clone());
        self.n_input_tokens += n_input_tokens;
        let elapsed = self.elapsed();
        let n_left = self.plan.n_steps - record.step;
        let seconds_per_step = elapsed.as_secs_f64() / record.step as f64;
        let report = StepReport {
            record,
            n_steps: self.plan.n_steps,
            tokens_per_s: self.tokens_per_s(elapsed),
            elapsed,
            eta: Duration::from_secs_f64(seconds_per_step * n_left as f64),
            params,
        };
        self.write(&Metric::of_step(&report))?;
        Ok(report)
    }

    pub(crate) fn add_evaluation(
        &mut self,
        step: usize,
        evaluation: Evaluation,
    ) -> Result<(), RunError> {
        self.evaluations.push((step, evaluation.clone()));
        self.write(&Metric::Evaluation { step, evaluation })
    }

    fn write(&mut self, metric: &Metric) -> Result<(), RunError> {
        match &mut self.log {
            Some(log) => log.push(metric),
            None => Ok(()),
        }
    }

    pub(crate) fn finish(self, outcome: Outcome) -> TrainSummary {
        let elapsed = self.elapsed();
        TrainSummary {
            outcome,
            n_trainable_params: self.plan.n_trainable_params,
            n_tokens: self.steps.iter().map(|record| record.n_tokens).sum(),
            n_input_tokens: self.n_input_tokens,
            elapsed_s: elapsed.as_secs_f64(),
            tokens_per_s: self.tokens_per_s(elapsed),
            steps: self.steps,
            evaluations: self.evaluations,
        }
    }

    fn tokens_per_s(&self, elapsed: Duration) -> f64 {
        self.n_input_tokens as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
