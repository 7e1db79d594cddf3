//! Learning rates that are too high or too low.

use super::{Detector, Sign, step};
use crate::{diagnose::Failure, metrics::Metric};

/// Losses whose mean is compared.
const WINDOW: usize = 5;
/// How far the mean must have risen over the lowest one: this share of it,
const RISEN: f64 = 0.3;
/// and this many times the spread within the lowest window.
const SPREADS: f64 = 6.0;

/// The loss goes up and stays up, or ends in NaN after it went up.
#[derive(Debug, Default)]
pub(super) struct TooHigh {
    losses: Vec<f64>,
    lowest: Option<Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    end: usize,
    mean: f64,
    spread: f64,
}

impl Window {
    fn of(losses: &[f64], end: usize) -> Self {
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let spread = losses
            .iter()
            .map(|loss| (loss - mean).abs())
            .fold(0.0, f64::max);
        Self { end, mean, spread }
    }
}

impl Detector for TooHigh {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let sign = |first_sign, evidence| Sign {
            failure: Failure::LearningRateTooHigh,
            first_sign,
            evidence,
        };
        if let Metric::NonFinite { step, .. } = metric {
            let (first, last) = (self.losses.first()?, self.losses.last()?);
            return (last > first && self.losses.len() > 1).then(|| {
                sign(
                    *step,
                    format!("the loss went from {first:.3} to {last:.3}, and then was not finite"),
                )
            });
        }
        let (record, _) = step(metric).filter(|(record, _)| record.loss.is_finite())?;
        // The start counts as a window of its own: a rate may be too high from the first step.
        self.losses.push(record.loss);
        if self.losses.len() == 1 {
            self.lowest = Some(Window::of(&self.losses, 1));
        }
        let recent = self.losses.len().checked_sub(WINDOW)?;
        let window = Window::of(&self.losses[recent..], record.step);
        let lowest = self.lowest?;
        let rise = window.mean - lowest.mean;
        if rise > RISEN * lowest.mean.abs() && rise > SPREADS * lowest.spread {
            return Some(sign(
                lowest.end + 1,
                format!(
                    "the mean loss of {WINDOW} steps rose from {:.3} to {:.3} at rate {:.0e}",
                    lowest.mean, window.mean, record.learning_rate
                ),
            ));
        }
        if window.mean < lowest.mean {
            self.lowest = Some(window);
        }
        None
    }
}

/// No step has changed the weight by this share or more.
const IDLE: f64 = 2e-5;
/// Steps before it is said: a warm-up may be short of this.
const N_STEPS: usize = 25;
/// The loss has come down by less than this share.
const FALLEN: f64 = 0.02;

#[derive(Debug, Default)]
pub(super) struct TooLow {
    first_loss: Option<f64>,
    largest_ratio: f64,
    n_steps: usize,
    /// The warm-up is over once the rate no longer grows.
    rate: f64,
}

impl Detector for TooLow {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let (record, signals) = step(metric)?;
        let ratio = signals.update_ratio?;
        let first_loss = *self.first_loss.get_or_insert(record.loss);
        self.largest_ratio = self.largest_ratio.max(ratio);
        let is_warming_up = record.learning_rate > self.rate;
        self.rate = self.rate.max(record.learning_rate);
        if is_warming_up {
            self.n_steps = 0;
        }
        self.n_steps += 1;
        let is_idle = self.largest_ratio < IDLE && record.loss > first_loss * (1.0 - FALLEN);
        (is_idle && self.n_steps >= N_STEPS).then(|| Sign {
            failure: Failure::LearningRateTooLow,
            first_sign: 1,
            evidence: format!(
                "no step changed the weights by more than {:.0e} of their size, and the loss went \
                 from {first_loss:.4} to {:.4} in {} steps",
                self.largest_ratio, record.loss, record.step
            ),
        })
    }
}
