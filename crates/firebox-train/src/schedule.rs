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
    /// A straight line down to `floor * peak`, which the step after the last one would reach.
    Linear {
        /// The lowest rate as a share of the peak, in `[0, 1]`.
        #[serde(default)]
        floor: f64,
    },
    /// Stays at the peak, then goes down to `floor * peak` over the last `decay_share` of the run, as
    /// `1 - sqrt(progress)`: warm-up, stable, decay.
    ///
    /// Source: Hägele et al. (2024), section 3, <https://arxiv.org/abs/2405.18392>.
    WarmupStableDecay {
        /// The share of all steps that decay, in `(0, 1]`; 0.2 is usual.
        decay_share: f64,
        /// The lowest rate as a share of the peak, in `[0, 1]`.
        #[serde(default)]
        floor: f64,
    },
    /// Up from `peak / start_div` and down to `peak / start_div / end_div`, each half a cosine wave;
    /// the warm-up's steps are the way up.
    ///
    /// Source: Smith and Topin (2018), <https://arxiv.org/abs/1708.07120>; PyTorch's `OneCycleLR`,
    /// whose `pct_start` is `n_warmup_steps / n_steps`.
    OneCycle {
        /// The peak over the first rate. 25 in PyTorch.
        #[serde(default = "one_cycle_start")]
        start_div: f64,
        /// The first rate over the last one. 1e4 in PyTorch.
        #[serde(default = "one_cycle_end")]
        end_div: f64,
    },
}

fn one_cycle_start() -> f64 {
    25.0
}

fn one_cycle_end() -> f64 {
    1e4
}

/// Half a cosine wave from 1 to 0.
fn wave(progress: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
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
        if let Decay::OneCycle { start_div, end_div } = self.decay {
            return self.peak * self.one_cycle(step, n_steps, start_div, end_div);
        }
        if step < self.n_warmup_steps {
            return self.peak * (step + 1) as f64 / (self.n_warmup_steps + 1) as f64;
        }
        let n_decay_steps = n_steps.saturating_sub(self.n_warmup_steps).max(1);
        let progress = ((step - self.n_warmup_steps) as f64 / n_decay_steps as f64).min(1.0);
        let between = |floor: f64, share: f64| floor + (1.0 - floor) * share;
        self.peak
            * match self.decay {
                Decay::Constant | Decay::OneCycle { .. } => 1.0,
                Decay::Cosine { floor } => between(floor, wave(progress)),
                Decay::Linear { floor } => between(floor, 1.0 - progress),
                Decay::WarmupStableDecay { decay_share, floor } => {
                    let begin = n_steps as f64 * (1.0 - decay_share);
                    let progress = (step as f64 - begin) / (n_steps as f64 - begin);
                    between(floor, 1.0 - progress.clamp(0.0, 1.0).sqrt())
                }
            }
    }

    /// The rate as a share of the peak.
    fn one_cycle(&self, step: usize, n_steps: usize, start_div: f64, end_div: f64) -> f64 {
        let (start, end) = (1.0 / start_div, 1.0 / start_div / end_div);
        // The last step of the way up has the peak, the last of all the end.
        let top = self.n_warmup_steps as f64 - 1.0;
        let last = (n_steps as f64 - 1.0).max(1.0);
        let step = step as f64;
        if step <= top {
            let progress = if top > 0.0 { step / top } else { 1.0 };
            return 1.0 + (start - 1.0) * wave(progress);
        }
        end + (1.0 - end) * wave((step - top) / (last - top).max(1.0))
    }
}

#[cfg(test)]
mod tests;
