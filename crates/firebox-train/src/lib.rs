#![doc = include_str!("../README.md")]

mod adamw;
mod batch;
mod causal_lm;
mod clip;
mod config;
mod error;
mod gradients;
mod host;
mod observer;
mod optimizer;
mod schedule;
mod sgd;
mod step;
mod trainer;

pub use adamw::{AdamW, AdamWConfig};
pub use batch::BatchSource;
pub use clip::{clip_grad_norm, grad_norm};
pub use config::{OptimizerConfig, TrainConfig};
pub use error::{BatchError, ConfigError, ConfigProblem, LossError, TrainError};
pub use gradients::ParamGradients;
pub use observer::{Observer, Outcome, RunPlan, StepRecord, StepReport, TrainSummary};
pub use optimizer::Optimizer;
pub use schedule::{Decay, Schedule};
pub use sgd::{Sgd, SgdConfig};
pub use step::{StepLoss, TrainStep};
pub use trainer::train;
