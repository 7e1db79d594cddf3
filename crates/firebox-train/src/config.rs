//! What a training run needs to know, as plain data.

use crate::{
    adafactor::AdafactorConfig,
    adamw::AdamWConfig,
    adamw_8bit::AdamW8bitConfig,
    early_stopping::EarlyStoppingConfig,
    ema::EmaConfig,
    error::{ConfigError, ConfigProblem},
    evaluation::EvaluationConfig,
    grad_scaler::GradScalerConfig,
    lion::LionConfig,
    optimizer::Optimizer,
    param_groups::ParamGroup,
    run_folder::CheckpointConfig,
    schedule::{Decay, Schedule},
    sgd::SgdConfig,
};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// A training run: how long, how fast, with which rule.
///
/// # Examples
///
/// ```
/// use firebox_train::{Schedule, TrainConfig};
///
/// let config = TrainConfig::new(48, Schedule::constant(1e-3));
/// config.validate().unwrap();
///
/// let broken = TrainConfig { n_steps: 0, n_accum_steps: 0, ..config };
/// assert_eq!(broken.validate().unwrap_err().problems.len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimizer steps.
    pub n_steps: usize,
    /// Batches whose gradients make one step, weighted by their tokens; 1 is no accumulation.
    #[serde(default = "one")]
    pub n_accum_steps: usize,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// The update rule.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Largest global gradient norm; larger ones are scaled down. `None` does not clip.
    #[serde(default)]
    pub max_grad_norm: Option<f64>,
    /// Largest absolute value of a gradient's element; larger ones are cut, after the norm is.
    #[serde(default)]
    pub max_grad_value: Option<f64>,
    /// Parameters with rates and decays of their own; the first that matches counts.
    #[serde(default)]
    pub groups: Vec<ParamGroup>,
    /// A slow copy of the parameters, which is scored and given back in the end.
    #[serde(default)]
    pub ema: Option<EmaConfig>,
    /// Ends a run whose evaluations do not get better any more.
    #[serde(default)]
    pub early_stopping: Option<EarlyStoppingConfig>,
    /// How losses are scaled for the backward pass, which half precision needs; `None` does not.
    #[serde(default)]
    pub loss_scaling: Option<GradScalerConfig>,
    /// When the model is scored while it trains; `None` never.
    #[serde(default)]
    pub evaluation: Option<EvaluationConfig>,
    /// When checkpoints are written, in runs that have a folder.
    #[serde(default)]
    pub checkpoints: CheckpointConfig,
    /// Whether several ranks keep the optimizer's state in shares (ZeRO, stage 1): `1 / n_ranks` of its
    /// memory on each, for one more exchange of all parameters a step. The same bits either way.
    #[serde(default)]
    pub shard_optimizer_state: bool,
}

/// An update rule and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// Adam with decoupled weight decay.
    AdamW(AdamWConfig),
    /// Gradient descent with momentum.
    Sgd(SgdConfig),
    /// Steps of one size along the sign of a running mean.
    Lion(LionConfig),
    /// The second moment of a matrix as one row and one column.
    Adafactor(AdafactorConfig),
    /// Adam with moments of one byte each.
    AdamW8bit(AdamW8bitConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::AdamW(AdamWConfig::default())
    }
}

impl OptimizerConfig {
    /// An optimizer without any state yet.
    pub fn init(&self) -> Box<dyn Optimizer> {
        match self {
            Self::AdamW(config) => Box::new(config.init()),
            Self::Sgd(config) => Box::new(config.init()),
            Self::Lion(config) => Box::new(config.init()),
            Self::Adafactor(config) => Box::new(config.init()),
            Self::AdamW8bit(config) => Box::new(config.init()),
        }
    }
}

impl OptimizerConfig {
    /// Bytes of state for each trained value, about: what a memory plan counts.
    pub fn state_bytes(&self) -> f64 {
        match self {
            Self::AdamW(_) => 8.0,
            Self::Sgd(config) if config.momentum == 0.0 => 0.0,
            Self::Sgd(_) | Self::Lion(_) => 4.0,
            // A row and a column a matrix.
            Self::Adafactor(_) => 0.1,
            // Two codes, and two scales a block of 256.
            Self::AdamW8bit(_) => 2.0 + 8.0 / 256.0,
        }
    }
}

impl TrainConfig {
    /// `n_steps` of AdamW with PyTorch's defaults, one batch a step, no clipping.
    pub fn new(n_steps: usize, schedule: Schedule) -> Self {
        Self {
            n_steps,
            n_accum_steps: 1,
            schedule,
            optimizer: OptimizerConfig::default(),
            max_grad_norm: None,
            max_grad_value: None,
            groups: Vec::new(),
            ema: None,
            early_stopping: None,
            loss_scaling: None,
            evaluation: None,
            checkpoints: CheckpointConfig::default(),
            shard_optimizer_state: false,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All problems at once, so that a file is corrected in one go.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut checks = Checks::default();
        checks.at_least_one("n_steps", self.n_steps);
        checks.at_least_one("n_accum_steps", self.n_accum_steps);
        if let Some(max_grad_norm) = self.max_grad_norm {
            checks.positive("max_grad_norm", max_grad_norm);
        }
        if let Some(scaling) = &self.loss_scaling {
            checks.loss_scaling(scaling);
        }
        if let Some(evaluation) = &self.evaluation {
            checks.at_least_one("evaluation.every_n_steps", evaluation.every_n_steps);
        }
        checks.at_least_one("checkpoints.every_n_steps", self.checkpoints.every_n_steps);
        checks.at_least_one("checkpoints.n_kept", self.checkpoints.n_kept);
        checks.schedule(&self.schedule, self.n_steps);
        if let Some(max_value) = self.max_grad_value {
            checks.positive("max_grad_value", max_value);
        }
        checks.optimizer(&self.optimizer);
        for group in &self.groups {
            checks.not_negative("groups.rate_factor", group.rate_factor);
            checks.not_negative("groups.weight_decay", group.weight_decay.unwrap_or(0.0));
        }
        if let Some(ema) = &self.ema {
            checks.decay_rate("ema.decay", ema.decay);
        }
        if let Some(stopping) = &self.early_stopping {
            checks.at_least_one("early_stopping.patience", stopping.patience);
            checks.not_negative("early_stopping.min_delta", stopping.min_delta);
            checks.check(
                self.evaluation.is_some(),
                "early_stopping",
                "`evaluation`, which it goes by",
                "none",
            );
        }
        checks.finish()
    }
}

/// Collects problems instead of stopping at the first.
#[derive(Default)]
struct Checks {
    problems: Vec<ConfigProblem>,
}

impl Checks {
    fn finish(self) -> Result<(), ConfigError> {
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(ConfigError {
                problems: self.problems,
            }),
        }
    }

    fn schedule(&mut self, schedule: &Schedule, n_steps: usize) {
        self.positive("schedule.peak", schedule.peak);
        self.check(
            schedule.n_warmup_steps < n_steps.max(1),
            "schedule.n_warmup_steps",
            &format!("fewer than `n_steps` ({n_steps})"),
            schedule.n_warmup_steps,
        );
        self.decay(schedule.decay);
    }

    fn decay(&mut self, decay: Decay) {
        let mut share = |field, found: f64, least: f64| {
            let is_share = (least..=1.0).contains(&found);
            self.check(is_share, field, "a share from 0 to 1", found);
        };
        match decay {
            Decay::Constant => {}
            Decay::Cosine { floor } | Decay::Linear { floor } => {
                share("schedule.decay.floor", floor, 0.0);
            }
            Decay::WarmupStableDecay { decay_share, floor } => {
                share("schedule.decay.floor", floor, 0.0);
                share("schedule.decay.decay_share", decay_share, f64::MIN_POSITIVE);
            }
            Decay::OneCycle { start_div, end_div } => {
                self.positive("schedule.decay.start_div", start_div);
                self.positive("schedule.decay.end_div", end_div);
            }
        }
    }

    fn optimizer(&mut self, optimizer: &OptimizerConfig) {
        let decay = match optimizer {
            OptimizerConfig::AdamW(config)
            | OptimizerConfig::AdamW8bit(AdamW8bitConfig(config)) => {
                self.decay_rate("optimizer.beta_1", config.beta_1);
                self.decay_rate("optimizer.beta_2", config.beta_2);
                // It is added in f32.
                self.positive("optimizer.eps", f64::from(config.eps as f32));
                config.weight_decay
            }
            OptimizerConfig::Sgd(config) => {
                self.decay_rate("optimizer.momentum", config.momentum);
                config.weight_decay
            }
            OptimizerConfig::Lion(config) => {
                self.decay_rate("optimizer.beta_1", config.beta_1);
                self.decay_rate("optimizer.beta_2", config.beta_2);
                config.weight_decay
            }
            OptimizerConfig::Adafactor(config) => {
                self.positive("optimizer.min_size", config.min_size);
                self.positive("optimizer.clip_threshold", config.clip_threshold);
                let falls = config.beta_2_decay.is_finite() && config.beta_2_decay < 0.0;
                let field = "optimizer.beta_2_decay";
                self.check(falls, field, "a number below 0", config.beta_2_decay);
                config.weight_decay
            }
        };
        self.not_negative("optimizer.weight_decay", decay);
    }

    fn loss_scaling(&mut self, scaling: &GradScalerConfig) {
        // The scale is held in f32.
        let init_scale = f64::from(scaling.init_scale as f32);
        self.positive("loss_scaling.init_scale", init_scale);
        let grows = scaling.growth_factor.is_finite() && scaling.growth_factor > 1.0;
        let field = "loss_scaling.growth_factor";
        self.check(grows, field, "a number above 1", scaling.growth_factor);
        let shrinks = scaling.backoff_factor > 0.0 && scaling.backoff_factor < 1.0;
        let field = "loss_scaling.backoff_factor";
        self.check(
            shrinks,
            field,
            "a number between 0 and 1",
            scaling.backoff_factor,
        );
        let interval = scaling.growth_interval as usize;
        self.at_least_one("loss_scaling.growth_interval", interval);
    }

    fn at_least_one(&mut self, field: &'static str, found: usize) {
        self.check(found > 0, field, "at least 1", found);
    }

    fn positive(&mut self, field: &'static str, found: f64) {
        let is_positive = found.is_finite() && found > 0.0;
        self.check(is_positive, field, "a positive number", found);
    }

    fn not_negative(&mut self, field: &'static str, found: f64) {
        let is_valid = found.is_finite() && found >= 0.0;
        self.check(is_valid, field, "a number that is not negative", found);
    }

    fn decay_rate(&mut self, field: &'static str, found: f64) {
        let is_valid = (0.0..1.0).contains(&found);
        self.check(
            is_valid,
            field,
            "a number from 0 up to, not including, 1",
            found,
        );
    }

    fn check(&mut self, is_valid: bool, field: &'static str, expected: &str, found: impl Display) {
        if !is_valid {
            self.problems.push(ConfigProblem {
                field,
                expected: expected.to_owned(),
                found: found.to_string(),
            });
        }
    }
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests;
