//! What batches are made of, and what the model makes of them.

use super::{Detector, Sign, step};
use crate::{diagnose::Failure, metrics::Metric};

/// Labels at the wrong place, on padding.
#[derive(Debug)]
pub(super) struct Labels;

/// Fewer labels say nothing.
const MIN_LABELS: usize = 16;

impl Detector for Labels {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let (record, signals) = step(metric)?;
        let batch = signals.batch.as_ref()?;
        let (n, own, next) = (batch.n_labels, batch.n_labels_own, batch.n_labels_next);
        let sign = |failure, evidence| Sign {
            failure,
            first_sign: record.step,
            evidence,
        };
        if n >= MIN_LABELS && 10 * next > 8 * n && 2 * own < n {
            let evidence = format!(
                "{next} of {n} labels equal the token after their place, {own} the token at it"
            );
            return Some(sign(Failure::LabelsOffByOne, evidence));
        }
        (batch.n_padding_labels > 0).then(|| {
            let evidence = format!("{} of {n} labels are on padding", batch.n_padding_labels);
            sign(Failure::LossOnPadding, evidence)
        })
    }
}

/// Outputs that move with what they must not see.
#[derive(Debug)]
pub(super) struct Leak;

/// Rounding moves an output by less: a probability's logarithm is of the order of one.
const MOVED: f64 = 1e-3;

impl Detector for Leak {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let (record, signals) = step(metric)?;
        let leaks = signals.leaks?;
        let (failure, moved, what) = if leaks.future > MOVED {
            (Failure::FutureLeak, leaks.future, "a later token")
        } else if leaks.padding > MOVED {
            (Failure::PaddingMaskMissing, leaks.padding, "the padding")
        } else {
            return None;
        };
        Some(Sign {
            failure,
            first_sign: record.step,
            evidence: format!("changing {what} moves a token's log-probability by {moved:.3}"),
        })
    }
}

/// Means over other numbers of tokens than they say.
#[derive(Debug)]
pub(super) struct Weighting;

impl Detector for Weighting {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let (record, signals) = step(metric)?;
        let batch = signals.batch.as_ref()?;
        (record.n_tokens != batch.n_labels).then(|| Sign {
            failure: Failure::AccumulationWeighting,
            first_sign: record.step,
            evidence: format!(
                "the losses say that they are over {} tokens, the labels are {}",
                record.n_tokens, batch.n_labels
            ),
        })
    }
}

/// Neighbouring batches that are more alike than distant ones.
#[derive(Debug, Default)]
pub(super) struct Order {
    n: usize,
    near: f64,
    far: f64,
}

/// Steps before it is said.
const N_STEPS: usize = 16;
/// How much more alike, on a scale from 0 to 1.
const CLOSER: f64 = 0.1;

impl Detector for Order {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let (_, signals) = step(metric)?;
        let [near, far] = signals.similarity?;
        self.n += 1;
        self.near += near;
        self.far += far;
        let (near, far) = (self.near / self.n as f64, self.far / self.n as f64);
        (self.n >= N_STEPS && near - far > CLOSER).then(|| Sign {
            failure: Failure::NoShuffling,
            first_sign: 1,
            evidence: format!(
                "the tokens of neighbouring batches resemble each other by {near:.2}, of batches \
                 eight steps apart by {far:.2}"
            ),
        })
    }
}
