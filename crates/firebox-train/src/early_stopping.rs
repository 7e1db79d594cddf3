//! When to give up.

use serde::{Deserialize, Serialize};

/// Ends a run whose evaluations do not get better any more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStoppingConfig {
    /// Evaluations in a row without a better one before the run ends.
    pub patience: usize,
    /// What a loss must be below the best one to count as better; in units of the loss.
    #[serde(default)]
    pub min_delta: f64,
}

/// The count of evaluations without a better one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// The lowest loss so far.
    pub best: Option<f64>,
    /// Evaluations since.
    pub n_worse: usize,
}

impl EarlyStopping {
    /// Takes an evaluation; `true` when it is time to stop. A loss that is no number is no better.
    pub fn take(&mut self, loss: f64, config: &EarlyStoppingConfig) -> bool {
        let is_better = match self.best {
            None => !loss.is_nan(),
            Some(best) => loss < best - config.min_delta,
        };
        if is_better {
            (self.best, self.n_worse) = (Some(loss), 0);
        } else {
            self.n_worse += 1;
        }
        self.n_worse >= config.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_given_up_after_as_many_evaluations_as_it_has_patience() {
        let config = EarlyStoppingConfig {
            patience: 2,
            min_delta: 0.1,
        };
        let mut stopping = EarlyStopping::default();
        let losses = [3.0, 2.0, 1.95, 1.85, 1.84, f64::NAN];
        let stops = losses.map(|loss| stopping.take(loss, &config));
        assert_eq!(stops, [false, false, false, false, false, true]);
        assert_eq!((stopping.best, stopping.n_worse), (Some(1.85), 2));
    }
}
