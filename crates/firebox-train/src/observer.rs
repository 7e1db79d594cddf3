//! What a run tells while it runs, and afterwards.

use crate::{diagnose::Finding, evaluation::Evaluation, signals::StepSignals};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Watches a run, and may stop it. `()` does neither.
pub trait Observer {
    /// Called once, before the first step.
    fn on_start(&mut self, _plan: &RunPlan) {}

    /// Called after every optimizer step.
    fn on_step(&mut self, _report: &StepReport) {}

    /// Called after every evaluation.
    fn on_evaluation(&mut self, _step: usize, _evaluation: &Evaluation) {}

    /// Called when a detector of [`crate::diagnose`] recognises a failure.
    fn on_finding(&mut self, _finding: &Finding) {}

    /// Called when a checkpoint of the run has been written.
    fn on_checkpoint(&mut self, _step: usize) {}

    /// Asked before every batch; `true` ends the run after the last finished step.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Observer for () {}

/// What is about to happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlan {
    /// Optimizer steps.
    pub n_steps: usize,
    /// Elements of all parameters that train.
    pub n_trainable_params: usize,
    /// Elements of all parameters, and of weights that cannot train.
    pub n_params: usize,
    /// Steps that were done before, where the run is resumed.
    #[serde(default)]
    pub n_done_steps: usize,
}

/// One finished step, and how the run goes.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// What the step did.
    pub record: StepRecord,
    /// Steps of the whole run.
    pub n_steps: usize,
    /// Input tokens a second, over the run so far.
    pub tokens_per_s: f64,
    /// Since the run's start.
    pub elapsed: Duration,
    /// Until the end, at the pace so far.
    pub eta: Duration,
    /// The gradient of each parameter, in the module's order.
    pub params: Vec<ParamSignal>,
    /// What the detectors go by.
    pub signals: StepSignals,
}

/// The gradient of one parameter in one step, before clipping.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSignal {
    /// Where the parameter sits in the module, such as `layers.0.q_proj.weight`.
    pub path: Arc<str>,
    /// Its Euclidean norm.
    pub grad_norm: f64,
    /// The share of its elements that are exactly zero, from 0 to 1.
    pub zero_share: f64,
    /// Its elements.
    pub n_elements: usize,
    /// Its axes.
    pub n_axes: usize,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step, from 1.
    pub step: usize,
    /// Mean loss over the step's tokens, before the update. In JSON null stands for a loss that is
    /// not finite.
    #[serde(with = "null_or_number")]
    pub loss: f64,
    /// The step's learning rate.
    pub learning_rate: f64,
    /// Global gradient norm, before clipping; not finite (null in JSON) where the update was
    /// skipped.
    #[serde(with = "null_or_number")]
    pub grad_norm: f64,
    /// Tokens that the loss is the mean over.
    pub n_tokens: usize,
    /// What the loss was multiplied by for the backward pass, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Whether the update was left out because a scaled gradient was not finite.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// The observer stopped it.
    Cancelled,
    /// The evaluations did not get better any more.
    StoppedEarly,
}

/// A whole run, afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSummary {
    /// How it ended.
    pub outcome: Outcome,
    /// Elements of all parameters that trained.
    pub n_trainable_params: usize,
    /// Tokens with a loss, in all steps.
    pub n_tokens: usize,
    /// Tokens that went through the model, in all steps.
    pub n_input_tokens: usize,
    /// Wall time in seconds, data and observer included.
    pub elapsed_s: f64,
    /// Input tokens a second.
    pub tokens_per_s: f64,
    /// Every finished step.
    pub steps: Vec<StepRecord>,
    /// Every evaluation, with the step after which it was made.
    #[serde(default)]
    pub evaluations: Vec<(usize, Evaluation)>,
    /// What the detectors recognised.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

impl TrainSummary {
    /// The loss of the first step, before any update.
    pub fn first_loss(&self) -> Option<f64> {
        self.steps.first().map(|record| record.loss)
    }

    /// The loss of the last step, before its update.
    pub fn last_loss(&self) -> Option<f64> {
        self.steps.last().map(|record| record.loss)
    }
}

/// JSON has no NaN.
mod null_or_number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match value.is_finite() {
            true => serializer.serialize_f64(*value),
            false => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}
