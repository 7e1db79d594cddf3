//! What evaluations show.

use super::{Detector, Sign, step};
use crate::{diagnose::Failure, metrics::Metric};

/// The held-out loss rises while the training loss falls.
#[derive(Debug, Default)]
pub(super) struct Overfitting {
    /// Of the steps since the last evaluation.
    losses: Vec<f64>,
    best: Option<Look>,
    n_worse: usize,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    step: usize,
    held_out: f64,
    training: f64,
}

/// The held-out loss is this share above its lowest,
const RISEN: f64 = 0.03;
/// in so many evaluations in a row.
const N_LOOKS: usize = 2;

impl Detector for Overfitting {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        if let Some((record, _)) = step(metric) {
            self.losses
                .extend(record.loss.is_finite().then_some(record.loss));
            return None;
        }
        let Metric::Evaluation {
            step, evaluation, ..
        } = metric
        else {
            return None;
        };
        let n = self.losses.len().max(1) as f64;
        let look = Look {
            step: *step,
            held_out: evaluation.loss,
            training: self.losses.drain(..).sum::<f64>() / n,
        };
        let best = *self.best.get_or_insert(look);
        if look.held_out <= best.held_out {
            (self.best, self.n_worse) = (Some(look), 0);
            return None;
        }
        let is_worse =
            look.held_out > best.held_out * (1.0 + RISEN) && look.training < best.training;
        self.n_worse = if is_worse { self.n_worse + 1 } else { 0 };
        (self.n_worse >= N_LOOKS).then(|| Sign {
            failure: Failure::Overfitting,
            first_sign: best.step,
            evidence: format!(
                "since step {} the held-out loss went from {:.3} to {:.3}, the training loss from \
                 {:.3} to {:.3}",
                best.step, best.held_out, look.held_out, best.training, look.training
            ),
        })
    }
}

/// Two evaluations of the same weights differ.
#[derive(Debug)]
pub(super) struct EvalMode;

impl Detector for EvalMode {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let Metric::Evaluation {
            step,
            evaluation,
            repeated_loss: Some(again),
        } = metric
        else {
            return None;
        };
        (*again != evaluation.loss).then(|| Sign {
            failure: Failure::ForgottenEvalMode,
            first_sign: *step,
            evidence: format!(
                "two evaluations of the same weights gave {:.6} and {again:.6}",
                evaluation.loss
            ),
        })
    }
}
