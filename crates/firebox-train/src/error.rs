//! What can go wrong in a training run.

use crate::{grad_scaler::GradScalerError, param_groups::EmptyGroup, run_error::RunError};
use std::fmt;

/// A training run that could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The settings make no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// No parameter asks for gradients.
    #[error(
        "train model: expected at least one trainable parameter, found none \
         (hint: put the model on `device.autodiff()` and attach an adapter, or unfreeze it)"
    )]
    NothingToTrain,

    /// The loss does not depend on any trainable parameter.
    #[error(
        "train step {step}: expected the loss to depend on the trainable parameters, found no \
         gradient (hint: is a `detach`, an `inner` or a frozen adapter between them and the loss?)"
    )]
    NoGradient {
        /// The step, from 1.
        step: usize,
    },

    /// Gradients were there before the backward pass.
    #[error(
        "train step {step}: expected gradients in the backward pass only, found some while the loss was \
         computed (hint: return `true` from `TrainStep::goes_backward_in_loss`)"
    )]
    BackwardInLoss {
        /// The step, from 1.
        step: usize,
    },

    /// The ranks of a distributed run cannot go on together.
    #[error(transparent)]
    World(#[from] crate::distributed::WorldError),

    /// A step without any token that counts.
    #[error(
        "train step {step}: expected tokens with a label, found none in its batches \
         (hint: were all answers cut off, or all labels masked?)"
    )]
    NoTokens {
        /// The step, from 1.
        step: usize,
    },

    /// The loss is NaN or infinite.
    #[error(
        "train step {step}: expected a finite loss, found {loss} at learning rate \
         {learning_rate:e}; the loss before was {previous} \
         (hint: lower the learning rate, add warm-up steps, or set `max_grad_norm = 1.0`)",
        previous = Previous(*.previous_loss)
    )]
    NonFiniteLoss {
        /// The step, from 1.
        step: usize,
        /// The loss that was found.
        loss: f64,
        /// The step's learning rate.
        learning_rate: f64,
        /// The loss of the step before, if there was one.
        previous_loss: Option<f64>,
    },

    /// The loss is finite, but a gradient is not.
    #[error(
        "train step {step}: expected a finite gradient norm, found {grad_norm} at loss {loss} and \
         learning rate {learning_rate:e} (hint: lower the learning rate, or look for a division \
         by zero, a root at zero or a logarithm of zero in the loss)"
    )]
    NonFiniteGradient {
        /// The step, from 1.
        step: usize,
        /// The norm that was found.
        grad_norm: f64,
        /// The step's loss.
        loss: f64,
        /// The step's learning rate.
        learning_rate: f64,
    },

    /// The model refused a batch.
    #[error("compute the loss of training batch {index}")]
    Loss {
        /// The batch, from 0.
        index: usize,
        /// Why.
        #[source]
        source: LossError,
    },

    /// The model could not be scored.
    #[error("evaluate after step {step}")]
    Evaluation {
        /// The step, from 1.
        step: usize,
        /// Why.
        #[source]
        source: LossError,
    },

    /// A group of parameters is empty.
    #[error(transparent)]
    Groups(#[from] EmptyGroup),

    /// Losses were scaled in a wrong order.
    #[error(transparent)]
    Scaling(#[from] GradScalerError),

    /// The run's folder cannot be written, or does not fit the run.
    #[error(transparent)]
    Run(#[from] RunError),

    /// The data could not be had.
    #[error("read training batch {index}")]
    Batch {
        /// The batch, from 0.
        index: usize,
        /// Why.
        #[source]
        source: BatchError,
    },
}

/// Whatever a model's loss fails with.
pub type LossError = Box<dyn std::error::Error + Send + Sync>;

/// Whatever a source of batches fails with.
pub type BatchError = Box<dyn std::error::Error + Send + Sync>;

/// All problems of a [`TrainConfig`](crate::TrainConfig).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<ConfigProblem>,
}

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The setting's path in the config.
    pub field: &'static str,
    /// What it may be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "use training config: ")?;
        for (position, problem) in self.problems.iter().enumerate() {
            let ConfigProblem {
                field,
                expected,
                found,
            } = problem;
            let separator = if position == 0 { "" } else { "; " };
            write!(
                formatter,
                "{separator}`{field}`: expected {expected}, found {found}"
            )?;
        }
        Ok(())
    }
}

/// A loss, or that there was none.
struct Previous(Option<f64>);

impl fmt::Display for Previous {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(loss) => write!(formatter, "{loss:.4}"),
            None => write!(formatter, "none, this is the first step"),
        }
    }
}
