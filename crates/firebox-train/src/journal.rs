//! The account of a run: records and time, in memory and in the run's folder.

use std::time::{Duration, Instant};

use crate::{
    diagnose::{Finding, Watch},
    evaluation::Evaluation,
    metrics::{Metric, MetricsLog},
    observer::{Outcome, ParamSignal, RunPlan, StepRecord, StepReport, TrainSummary},
    run_error::RunError,
    run_folder::RunFolder,
    signals::StepSignals,
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
    watch: Watch,
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
            watch: Watch::default(),
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
        // The detectors know what they knew: they go by these lines alone.
        let mut watch = Watch::default();
        for metric in metrics {
            watch.see(&metric);
            match metric {
                Metric::Step { record, .. } => steps.push(record),
                Metric::Evaluation {
                    step, evaluation, ..
                } => evaluations.push((step, evaluation)),
                _ => {}
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
            watch,
        })
    }

    /// The run's time so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    pub(crate) fn n_input_tokens(&self) -> usize {
        self.n_input_tokens
    }

    /// The loss of the step before.
    pub(crate) fn previous_loss(&self) -> Option<f64> {
        self.steps.last().map(|previous| previous.loss)
    }

    /// Whether the model has been scored already.
    pub(crate) fn is_scored(&self) -> bool {
        !self.evaluations.is_empty()
    }

    pub(crate) fn add(
        &mut self,
        record: StepRecord,
        n_input_tokens: usize,
        (params, signals): (Vec<ParamSignal>, StepSignals),
    ) -> Result<(StepReport, Vec<Finding>), RunError> {
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
            signals,
        };
        let findings = self.write(&Metric::of_step(&report))?;
        Ok((report, findings))
    }

    pub(crate) fn add_evaluation(
        &mut self,
        step: usize,
        evaluation: Evaluation,
        repeated_loss: Option<f64>,
    ) -> Result<Vec<Finding>, RunError> {
        self.evaluations.push((step, evaluation.clone()));
        self.write(&Metric::Evaluation {
            step,
            evaluation,
            repeated_loss,
        })
    }

    /// Writes a line down, and what the detectors see in it.
    pub(crate) fn write(&mut self, metric: &Metric) -> Result<Vec<Finding>, RunError> {
        let findings = self.watch.see(metric);
        if let Some(log) = &mut self.log {
            log.push(metric)?;
            for finding in &findings {
                log.push(&Metric::Finding {
                    finding: finding.clone(),
                })?;
            }
        }
        Ok(findings)
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
            findings: self.watch.findings().to_vec(),
        }
    }

    fn tokens_per_s(&self, elapsed: Duration) -> f64 {
        self.n_input_tokens as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
