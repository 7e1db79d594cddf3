//! One detector a failure, each a small state over the lines of a run.

mod batches;
mod gradients;
mod rate;
mod scores;
mod setup;

use super::failure::Failure;
use crate::{metrics::Metric, observer::StepRecord, signals::StepSignals};

/// Sees every line of a run, and speaks up when it is certain.
pub(super) trait Detector: std::fmt::Debug + Send {
    /// What this line makes certain, if anything. It may be said again and again: only the first
    /// time counts.
    fn see(&mut self, metric: &Metric) -> Option<Sign>;
}

/// What a detector recognised.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sign {
    pub(super) failure: Failure,
    pub(super) first_sign: usize,
    pub(super) evidence: String,
}

/// Every detector at the start of a run.
pub(super) fn all() -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(gradients::Vanishing::default()),
        Box::new(gradients::Exploding::default()),
        Box::new(gradients::Dead::default()),
        Box::new(gradients::F16::default()),
        Box::new(rate::TooHigh::default()),
        Box::new(rate::TooLow::default()),
        Box::new(batches::Labels),
        Box::new(batches::Leak),
        Box::new(batches::Weighting),
        Box::new(batches::Order::default()),
        Box::new(setup::Before::default()),
        Box::new(scores::Overfitting::default()),
        Box::new(scores::EvalMode),
    ]
}

/// A step's record and signals, where the line is one.
fn step(metric: &Metric) -> Option<(&StepRecord, &StepSignals)> {
    match metric {
        Metric::Step {
            record, signals, ..
        } => Some((record, signals)),
        _ => None,
    }
}

/// Counts steps in a row that show a sign.
#[derive(Debug, Default)]
struct Streak {
    first: usize,
    len: usize,
}

impl Streak {
    /// Takes a step; gives the first step of the row once it is `enough` long.
    fn take(&mut self, step: usize, has_sign: bool, enough: usize) -> Option<usize> {
        if !has_sign {
            self.len = 0;
            return None;
        }
        if self.len == 0 {
            self.first = step;
        }
        self.len += 1;
        (self.len >= enough).then_some(self.first)
    }
}
