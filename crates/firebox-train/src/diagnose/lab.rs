//! Small runs that reproduce each failure, and the same runs with the fix.

mod attention;
mod healthy;
mod numbers;
mod perceptron;
mod procedure;
mod reader;
mod tokens;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{failure::Failure, watch::Finding};
use crate::{
    error::TrainError,
    observer::{Observer, StepReport, TrainSummary},
};

pub use healthy::{N_HEALTHY, healthy};

/// Whether a run has the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Broken,
    Fixed,
}

use Variant::{Broken, Fixed};

/// One run of one failure.
type Experiment = fn(Variant, &mut dyn Observer) -> Result<TrainSummary, TrainError>;

fn experiment(failure: Failure) -> Experiment {
    match failure {
        Failure::VanishingGradients => numbers::vanishing_gradients,
        Failure::ExplodingGradients => numbers::exploding_gradients,
        Failure::DeadActivations => numbers::dead_activations,
        Failure::F16Overflow => numbers::f16_overflow,
        Failure::F16Underflow => numbers::f16_underflow,
        Failure::LearningRateTooHigh => numbers::learning_rate_too_high,
        Failure::LearningRateTooLow => numbers::learning_rate_too_low,
        Failure::LabelsOffByOne => tokens::labels_off_by_one,
        Failure::LossOnPadding => tokens::loss_on_padding,
        Failure::LossOnPrompt => tokens::loss_on_prompt,
        Failure::FutureLeak => attention::future_leak,
        Failure::PaddingMaskMissing => attention::padding_mask_missing,
        Failure::WrongTokenizer => tokens::wrong_tokenizer,
        Failure::EmbeddingsTooSmall => tokens::embeddings_too_small,
        Failure::NoShuffling => tokens::no_shuffling,
        Failure::Overfitting => procedure::overfitting,
        Failure::EvaluationOnTrainingData => procedure::evaluation_on_training_data,
        Failure::AccumulationWeighting => tokens::accumulation_weighting,
        Failure::AdapterNotAttached => procedure::adapter_not_attached,
        Failure::ForgottenEvalMode => procedure::forgotten_eval_mode,
        Failure::OutOfMemory => procedure::out_of_memory,
        Failure::ResumedWithOtherData => procedure::resumed_with_other_data,
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Trial {
    /// What the detectors said, in the order in which they said it.
    pub findings: Vec<Finding>,
    /// The loss of every step.
    pub losses: Vec<f64>,
    /// What ended the run, where it did not finish.
    pub error: Option<String>,
    /// Wall time.
    pub elapsed: Duration,
}

impl Trial {
    /// The finding of this failure, if it was recognised.
    pub fn finding(&self, failure: Failure) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.failure == failure)
    }

    /// The loss of the last step.
    pub fn last_loss(&self) -> Option<f64> {
        self.losses.last().copied()
    }
}

/// A failure, reproduced and repaired.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reproduction {
    /// Which.
    pub failure: Failure,
    /// The run that has it.
    pub broken: Trial,
    /// The run with the fix.
    pub fixed: Trial,
}

impl Reproduction {
    /// Whether the failure was recognised, and the fixed run finished without a finding.
    pub fn is_shown(&self) -> bool {
        let is_clean = self.fixed.findings.is_empty() && self.fixed.error.is_none();
        self.broken.finding(self.failure).is_some() && is_clean
    }
}

/// Runs a failure's experiment, broken and fixed. Every run is the same in every repetition.
pub fn reproduce(failure: Failure) -> Reproduction {
    let run = experiment(failure);
    Reproduction {
        failure,
        broken: trial(|observer| run(Broken, observer)),
        fixed: trial(|observer| run(Fixed, observer)),
    }
}

/// Runs something and gathers what is seen of it.
fn trial(run: impl FnOnce(&mut dyn Observer) -> Result<TrainSummary, TrainError>) -> Trial {
    let started = Instant::now();
    let mut seen = Seen::default();
    let error = run(&mut seen).err().map(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    });
    Trial {
        findings: seen.findings,
        losses: seen.losses,
        error,
        elapsed: started.elapsed(),
    }
}

#[derive(Default)]
struct Seen {
    findings: Vec<Finding>,
    losses: Vec<f64>,
}

impl Observer for Seen {
    fn on_step(&mut self, report: &StepReport) {
        self.losses.push(report.record.loss);
    }

    fn on_finding(&mut self, finding: &Finding) {
        self.findings.push(finding.clone());
    }
}
