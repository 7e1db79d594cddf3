//! Loss scaling, so that small gradients are not lost in half precision.

use std::collections::HashMap;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{gradient_measure::measure_all, gradients::ParamGradients};

/// Settings of [`GradScaler`]; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradScalerConfig {
    /// The first scale. 65536 in PyTorch.
    pub init_scale: f64,
    /// Multiplies the scale after `growth_interval` good steps in a row. 2 in PyTorch.
    pub growth_factor: f64,
    /// Multiplies the scale after a step whose gradients were not finite. 0.5 in PyTorch.
    pub backoff_factor: f64,
    /// Good steps in a row before the scale grows. 2000 in PyTorch.
    pub growth_interval: u32,
}

impl Default for GradScalerConfig {
    fn default() -> Self {
        Self {
            init_scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
        }
    }
}

impl GradScalerConfig {
    /// A scaler at its first scale.
    pub fn init(&self) -> GradScaler {
        GradScaler {
            config: *self,
            scale: self.init_scale as f32,
            growth_tracker: 0,
            optimizers: HashMap::new(),
        }
    }
}

/// Multiplies losses before the backward pass, divides gradients after it, leaves out steps whose
/// gradients overflowed, and adapts the scale: PyTorch's `GradScaler`, rule for rule.
///
/// Between two [`GradScaler::update`]s, each optimizer may be unscaled once and stepped once, in this
/// order. There is no floor: a model that overflows for ever drives the scale to zero.
///
/// Source: Micikevicius et al. (2018), section 3.2, <https://arxiv.org/abs/1710.03740>;
/// `torch.amp.GradScaler` for the rules.
///
/// # Examples
///
/// ```
/// use firebox_train::{GradScalerConfig, ParamGradients};
///
/// let mut scaler = GradScalerConfig::default().init();
/// assert_eq!(scaler.scale(), 65536.0);
/// let mut gradients = ParamGradients::default();
/// scaler.unscale("adamw", &mut gradients)?;
/// let stepped = scaler.step("adamw", &mut gradients, |_gradients| ())?;
/// assert!(stepped.is_some());
/// scaler.update()?;
/// # Ok::<(), firebox_train::GradScalerError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GradScaler {
    config: GradScalerConfig,
    scale: f32,
    growth_tracker: u32,
    /// By the optimizer's name, since the last update.
    optimizers: HashMap<String, OptimizerStage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OptimizerStage {
    has_stepped: bool,
    found_inf: bool,
}

/// What a checkpoint keeps of a [`GradScaler`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradScalerState {
    /// The scale.
    pub scale: f32,
    /// Good steps since it last changed.
    pub growth_tracker: u32,
}

/// Calls in an order that would give wrong gradients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GradScalerError {
    /// The gradients were divided already.
    #[error(
        "unscale gradients of `{optimizer}`: expected scaled gradients, found that they were \
         unscaled since the last update (hint: unscale once a step)"
    )]
    UnscaledTwice {
        /// The optimizer.
        optimizer: String,
    },
    /// The step was made already.
    #[error(
        "unscale gradients of `{optimizer}`: expected a step that is still to come, found that it \
         was made (hint: unscale, step, update)"
    )]
    UnscaledAfterStep {
        /// The optimizer.
        optimizer: String,
    },
    /// The step was made already.
    #[error(
        "step `{optimizer}`: expected one step between two updates, found a second \
         (hint: call `update` after each step)"
    )]
    SteppedTwice {
        /// The optimizer.
        optimizer: String,
    },
    /// Nothing was unscaled.
    #[error(
        "update the loss scale: expected gradients that were checked for infinity since the last \
         update, found none (hint: call `step` before)"
    )]
    NothingChecked,
}

impl GradScaler {
    /// What losses are multiplied by.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Good steps since the scale last changed.
    pub fn growth_tracker(&self) -> u32 {
        self.growth_tracker
    }

    /// The loss, `[1]`, times the scale.
    pub fn scale_loss(&self, loss: Tensor<1>) -> Tensor<1> {
        loss.mul_scalar(self.scale)
    }

    /// Divides gradients by the scale, and notes whether one of them was infinite or no number.
    ///
    /// The factor is `1 / scale`, computed in f64 and rounded to f32.
    ///
    /// # Errors
    ///
    /// When they were unscaled, or their step was made, since the last update.
    pub fn unscale(
        &mut self,
        optimizer: &str,
        gradients: &mut ParamGradients,
    ) -> Result<(), GradScalerError> {
        let owned = || optimizer.to_owned();
        match self.optimizers.get(optimizer) {
            None => {}
            Some(stage) if stage.has_stepped => {
                return Err(GradScalerError::UnscaledAfterStep { optimizer: owned() });
            }
            Some(_) => return Err(GradScalerError::UnscaledTwice { optimizer: owned() }),
        }
        let measures = measure_all(gradients);
        // Squares of f32 do not overflow in f64: the sum is finite where every element is.
        let is_finite = |sum: f64| sum.is_finite();
        let found_inf = !measures
            .iter()
            .all(|(_, measure)| is_finite(measure.sum_of_squares));
        gradients.scale((1.0 / f64::from(self.scale)) as f32);
        let stage = OptimizerStage {
            has_stepped: false,
            found_inf,
        };
        self.optimizers.insert(owned(), stage);
        Ok(())
    }

    /// Notes a step whose gradients are known to be infinite, such as those of an infinite loss.
    pub(crate) fn note_overflow(&mut self, optimizer: &str) {
        let stage = OptimizerStage {
            has_stepped: false,
            found_inf: true,
        };
        self.optimizers.insert(optimizer.to_owned(), stage);
    }

    /// Unscales, where that was not done, and steps with finite gradients; `None` where they are
    /// not.
    ///
    /// # Errors
    ///
    /// When the step was made since the last update.
    pub fn step<R>(
        &mut self,
        optimizer: &str,
        gradients: &mut ParamGradients,
        step: impl FnOnce(&mut ParamGradients) -> R,
    ) -> Result<Option<R>, GradScalerError> {
        let stage = match self.optimizers.get(optimizer) {
            Some(stage) if stage.has_stepped => {
                return Err(GradScalerError::SteppedTwice {
                    optimizer: optimizer.to_owned(),
                });
            }
            Some(stage) => *stage,
            None => {
                self.unscale(optimizer, gradients)?;
                self.optimizers[optimizer]
            }
        };
        let result = (!stage.found_inf).then(|| step(gradients));
        let stepped = OptimizerStage {
            has_stepped: true,
            ..stage
        };
        self.optimizers.insert(optimizer.to_owned(), stepped);
        Ok(result)
    }

    /// Adapts the scale to what the steps since the last update found: smaller if any overflowed,
    /// larger after enough good ones, unless that would be infinite.
    ///
    /// # Errors
    ///
    /// When no gradient was checked since the last update.
    pub fn update(&mut self) -> Result<(), GradScalerError> {
        if self.optimizers.is_empty() {
            return Err(GradScalerError::NothingChecked);
        }
        let found_inf = self.optimizers.values().any(|stage| stage.found_inf);
        self.optimizers.clear();
        let times = |factor: f64| (f64::from(self.scale) * factor) as f32;
        if found_inf {
            (self.scale, self.growth_tracker) = (times(self.config.backoff_factor), 0);
            return Ok(());
        }
        self.growth_tracker += 1;
        if self.growth_tracker == self.config.growth_interval {
            let grown = times(self.config.growth_factor);
            if grown.is_finite() {
                self.scale = grown;
            }
            self.growth_tracker = 0;
        }
        Ok(())
    }

    /// Sets the scale, whatever the steps found. The count of good steps goes on.
    pub fn update_to(&mut self, scale: f32) {
        self.optimizers.clear();
        self.scale = scale;
    }

    /// What a checkpoint keeps.
    pub fn state(&self) -> GradScalerState {
        GradScalerState {
            scale: self.scale,
            growth_tracker: self.growth_tracker,
        }
    }

    /// Goes on from a state.
    pub fn restore(&mut self, state: GradScalerState) {
        self.optimizers.clear();
        (self.scale, self.growth_tracker) = (state.scale, state.growth_tracker);
    }
}
