//! The learning rate as a pure function of the step.

use serde::{Deserialize, Serialize};

/// Linear warm-up to `peak`, then a [`Decay`].
///
/// # Examples
///
/// ```
/// use firebox_train::{Decay, Schedule};
///
/// let schedule = Schedule { peak: 1e-3, n_warmup_steps: 10, decay: Decay::Cosine { floor: 0.1 } };
/// assert_eq!(schedule.learning_rate(10, 100), 1e-3);
/// assert!((schedule.learning_rate(100, 100) - 1e-4).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The highest learning rate.
    pub peak: f64,
    /// Steps before the peak; step `s` of them, from 0, has `peak * (s + 1) / (n_warmup_steps + 1)`,
    /// so that no step is wasted at a rate of zero. 0 starts at the peak.
    #[serde(default)]
    pub n_warmup_steps: usize,
    /// What happens after the warm-up.
    #[serde(default)]
    pub decay: Decay,
}

/// The learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// Stays at the peak.
    #[default]
    Constant,
    /// Half a cosine wave from the peak down to `floor * peak`, which the step after the last one
    /// would reach.
    ///
    /// Source: Loshchilov and Hutter (2017), equation 5 without restarts,
    /// <https://arxiv.org/abs/1608.03983>.
    Cosine {
        /// The lowest rate as a share of the peak, in `[0, 1]`.
        #[serde(default)]
        floor: f64,
    },
}

impl Schedule {
    /// `peak` at every step.
    pub fn constant(peak: f64) -> Self {
        Self {
            peak,
            n_warmup_steps: 0,
            decay: Decay::Constant,
        }
    }

    /// The rate of `step`, counted from 0, in a run of `n_steps`.
    pub fn learning_rate(&self, step: usize, n_steps: usize) -> f64 {
        if step < self.n_warmup_steps {
            return self.peak * (step + 1) as f64 / (self.n_warmup_steps + 1) as f64;
        }
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Cosine { floor } => {
                let n_decay_steps = n_steps.saturating_sub(self.n_warmup_steps).max(1);
                let progress = (step - self.n_warmup_steps) as f64 / n_decay_steps as f64;
                let wave = 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos());
                self.peak * (floor + (1.0 - floor) * wave)
            }
        }
    }
}

#[cfg(test)]
mod tests;
