//! Gradients that vanish, explode, are zero, or leave half precision's range.

use super::{Detector, Sign, Streak, step};
use crate::{diagnose::Failure, metrics::Metric};

/// The smallest gradient is this share of the largest, or less. Transformers and perceptrons that
/// learn stay above 1e-4; twenty saturated layers are below 1e-8.
const VANISHED: f64 = 1e-6;
/// Steps in a row.
const N_STEPS: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Vanishing(Streak);

impl Detector for Vanishing {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let (record, signals) = step(metric)?;
        let range = signals.gradients.as_ref()?;
        let ratio = range.least.value / range.most.value;
        let first_sign = self.0.take(record.step, ratio < VANISHED, N_STEPS)?;
        Some(Sign {
            failure: Failure::VanishingGradients,
            first_sign,
            evidence: format!(
                "the gradient of `{}` is {ratio:.0e} of that of `{}`",
                range.least.path, range.most.path
            ),
        })
    }
}

/// A norm this large is not that of a mean loss over a healthy model.
const HUGE: f64 = 1e4;
/// Or this many times the median of the steps before.
const MANY_TIMES: f64 = 100.0;

#[derive(Debug, Default)]
pub(super) struct Exploding {
    norms: Vec<f64>,
}

impl Detector for Exploding {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        let (record, _) = step(metric)?;
        // A scaled gradient that overflowed is left out, and no explosion.
        if record.skipped {
            return None;
        }
        let norm = record.grad_norm;
        let median = match self.norms.len() {
            0..10 => f64::INFINITY,
            len => {
                let mut sorted = self.norms.clone();
                *sorted.select_nth_unstable_by(len / 2, f64::total_cmp).1
            }
        };
        if self.norms.len() == 100 {
            self.norms.remove(0);
        }
        self.norms.push(norm);
        let evidence = if norm > HUGE {
            format!("the gradient's norm is {norm:.1e}")
        } else if norm > 1.0 && norm > MANY_TIMES * median {
            format!(
                "the gradient's norm is {norm:.1e}, {:.0} times the median of the steps before",
                norm / median
            )
        } else {
            return None;
        };
        Some(Sign {
            failure: Failure::ExplodingGradients,
            first_sign: record.step,
            evidence,
        })
    }
}

/// The share of one weight's gradients that are zero when its units are dead. Deep stacks of ReLU
/// that learn have up to 0.8.
const DEAD: f64 = 0.95;
/// Steps in a row: a single batch may leave many units idle.
const N_DEAD_STEPS: usize = 5;

/// Whole rows without gradient in f32. Half precision loses small gradients for another reason.
#[derive(Debug, Default)]
pub(super) struct Dead {
    is_half: bool,
    has_adapter: bool,
    streak: Streak,
}

impl Detector for Dead {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        if let Metric::Setup { setup } = metric {
            self.is_half = setup.precision.as_deref() == Some("f16");
            self.has_adapter = setup.n_adapter_params > 0;
        }
        let (record, signals) = step(metric)?;
        let zeros = signals.zeros.as_ref()?;
        // The first factor of a fresh adapter has no gradient until the second has moved.
        let is_dead =
            zeros.value > DEAD && !self.is_half && !(self.has_adapter && record.step == 1);
        let first_sign = self.streak.take(record.step, is_dead, N_DEAD_STEPS)?;
        Some(Sign {
            failure: Failure::DeadActivations,
            first_sign,
            evidence: format!(
                "{:.0} % of the gradients of `{}` are exactly zero",
                100.0 * zeros.value,
                zeros.path
            ),
        })
    }
}

/// The share of all gradients that are zero when small ones have been lost.
const LOST: f64 = 0.3;

/// Skipped steps in a row: a scaler that starts too high needs a few.
const N_SKIPPED: usize = 12;

#[derive(Debug, Default)]
pub(super) struct F16 {
    is_half: bool,
    is_scaled: bool,
    lost: Streak,
    skipped: Streak,
}

impl Detector for F16 {
    fn see(&mut self, metric: &Metric) -> Option<Sign> {
        match metric {
            Metric::Setup { setup } => {
                self.is_half = setup.precision.as_deref() == Some("f16");
                self.is_scaled = setup.scales_loss;
                None
            }
            Metric::NonFinite { step, what } if self.is_half => Some(Sign {
                failure: Failure::F16Overflow,
                first_sign: *step,
                evidence: format!("the {what} is not finite in f16"),
            }),
            Metric::Step {
                record, signals, ..
            } => {
                if let Some(first_sign) = self.skipped.take(record.step, record.skipped, N_SKIPPED)
                {
                    return Some(Sign {
                        failure: Failure::F16Overflow,
                        first_sign,
                        evidence: format!(
                            "{N_SKIPPED} steps in a row were not finite, down to a loss scale of {:.0e}",
                            record.loss_scale.unwrap_or(1.0)
                        ),
                    });
                }
                let loss_scale = record.loss_scale.unwrap_or(1.0);
                let loses = self.is_half && loss_scale <= 1.0 && signals.zero_share > LOST;
                let first_sign = self.lost.take(record.step, loses, N_STEPS)?;
                Some(Sign {
                    failure: Failure::F16Underflow,
                    first_sign,
                    evidence: format!(
                        "{:.0} % of all gradients are exactly zero in f16, and {}",
                        100.0 * signals.zero_share,
                        match self.is_scaled {
                            true => format!("the loss scale is {loss_scale}"),
                            false => "the loss is not scaled".to_owned(),
                        }
                    ),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Setup, observer::StepRecord, signals::StepSignals};

    fn setup(scales_loss: bool) -> Metric {
        let setup = Setup {
            precision: Some("f16".to_owned()),
            scales_loss,
            ..Setup::default()
        };
        Metric::Setup { setup }
    }

    /// A step in which most gradients are zero.
    fn step(step: usize, loss_scale: Option<f64>) -> Metric {
        let record = StepRecord {
            step,
            loss: 7.0,
            learning_rate: 1e-3,
            grad_norm: 0.1,
            n_tokens: 1020,
            loss_scale,
            skipped: false,
        };
        let signals = StepSignals {
            zero_share: 0.8,
            ..StepSignals::default()
        };
        Metric::Step {
            record,
            signals,
            tokens_per_s: 1000.0,
            elapsed_s: 1.0,
        }
    }

    #[test]
    fn zeros_in_f16_are_a_failure_at_a_loss_scale_of_one_and_less() {
        let evidence = |loss_scale: Option<f64>| {
            let mut detector = F16::default();
            detector.see(&setup(loss_scale.is_some()));
            let sign = (1..10).find_map(|at| detector.see(&step(at, loss_scale)))?;
            assert_eq!(sign.failure, Failure::F16Underflow);
            Some(sign.evidence)
        };
        let zeros = "80 % of all gradients are exactly zero in f16, and";
        let found = |text: &str| Some(format!("{zeros} {text}"));
        assert_eq!(evidence(None), found("the loss is not scaled"));
        assert_eq!(evidence(Some(0.5)), found("the loss scale is 0.5"));
        assert_eq!(evidence(Some(2.0)), None);
    }
}
