#![doc = include_str!("../README.md")]

mod accumulate;
mod adafactor;
mod adamw;
mod adamw_8bit;
mod batch;
mod causal_lm;
mod checkpoint;
mod clip;
mod config;
pub mod diagnose;
mod distributed;
mod dpo;
mod dynamic_code;
mod early_stopping;
mod ema;
mod error;
mod evaluation;
mod grad_scaler;
mod gradient_measure;
mod gradients;
mod host;
mod journal;
mod labelled;
mod lion;
mod loader_batches;
mod metrics;
mod module_params;
mod observer;
mod optimizer;
mod optimizer_state;
mod param_groups;
mod probe;
mod run_error;
mod run_folder;
mod schedule;
mod session;
mod sgd;
mod signals;
mod step;
mod trainer;

pub use adafactor::{Adafactor, AdafactorConfig};
pub use adamw::{AdamW, AdamWConfig};
pub use adamw_8bit::{AdamW8bit, AdamW8bitConfig};
pub use batch::{BatchSource, Groups};
pub use clip::{clip_grad_norm, clip_grad_value, grad_norm};
pub use config::{OptimizerConfig, TrainConfig};
pub use distributed::{
    Communicator, RankBatches, ThreadCommunicator, World, WorldError, thread_group,
};
pub use dpo::{Dpo, DpoConfig, DpoReport};
pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
pub use ema::{Ema, EmaConfig};
pub use error::{BatchError, ConfigError, ConfigProblem, LossError, TrainError};
pub use evaluation::{Evaluation, EvaluationConfig, Evaluator, Sample};
pub use grad_scaler::{GradScaler, GradScalerConfig, GradScalerError, GradScalerState};
pub use gradients::ParamGradients;
pub use labelled::{LabelledBatch, LabelledBatches};
pub use lion::{Lion, LionConfig};
pub use loader_batches::LoaderBatches;
pub use metrics::{Metric, read_metrics};
pub use observer::{Observer, Outcome, ParamSignal, RunPlan, StepRecord, StepReport, TrainSummary};
pub use optimizer::{Optimizer, ParamUpdate};
pub use optimizer_state::{ParamState, StateError, StateTensor};
pub use param_groups::{EmptyGroup, GroupSettings, ParamGroup, ParamGroups};
pub use run_error::RunError;
pub use run_folder::{Best, CheckpointConfig, RunFolder};
pub use schedule::{Decay, Schedule};
pub use sgd::{Sgd, SgdConfig};
pub use signals::{
    BatchSignals, GradientRange, Leaks, NamedShare, Setup, StepSignals, shared_rows,
};
pub use step::{StepLoss, TrainStep};
pub use trainer::{Place, TrainHooks, train, train_with};
