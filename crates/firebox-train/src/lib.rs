#![doc = include_str!("../README.md")]

mod accumulate;
mod adamw;
mod batch;
mod causal_lm;
mod checkpoint;
mod clip;
mod config;
pub mod diagnose;
mod error;
mod evaluation;
mod grad_scaler;
mod gradient_measure;
mod gradients;
mod host;
mod journal;
mod metrics;
mod module_params;
mod observer;
mod optimizer;
mod optimizer_state;
mod probe;
mod run_error;
mod run_folder;
mod schedule;
mod session;
mod sgd;
mod signals;
mod step;
mod trainer;

pub use adamw::{AdamW, AdamWConfig};
pub use batch::BatchSource;
pub use clip::{clip_grad_norm, grad_norm};
pub use config::{OptimizerConfig, TrainConfig};
pub use error::{BatchError, ConfigError, ConfigProblem, LossError, TrainError};
pub use evaluation::{Evaluation, EvaluationConfig, Evaluator, Sample};
pub use grad_scaler::{GradScaler, GradScalerConfig, GradScalerError, GradScalerState};
pub use gradients::ParamGradients;
pub use metrics::{Metric, read_metrics};
pub use observer::{Observer, Outcome, ParamSignal, RunPlan, StepRecord, StepReport, TrainSummary};
pub use optimizer::Optimizer;
pub use optimizer_state::{ParamState, StateError, StateTensor};
pub use run_error::RunError;
pub use run_folder::{Best, CheckpointConfig, RunFolder};
pub use schedule::{Decay, Schedule};
pub use sgd::{Sgd, SgdConfig};
pub use signals::{
    BatchSignals, GradientRange, Leaks, NamedShare, Setup, StepSignals, shared_rows,
};
pub use step::{StepLoss, TrainStep};
pub use trainer::{Place, TrainHooks, train, train_with};
