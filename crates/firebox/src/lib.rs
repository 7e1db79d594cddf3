#![doc = include_str!("../README.md")]

pub use firebox_checkpoint as checkpoint;
pub use firebox_data as data;
#[cfg(feature = "cli")]
pub use firebox_engine as engine;
pub use firebox_eval as eval;
#[cfg(feature = "cli")]
pub use firebox_hub as hub;
pub use firebox_model as model;
pub use firebox_quant as quant;
#[cfg(feature = "cli")]
pub use firebox_serve as serve;
pub use firebox_tensor as tensor;
pub use firebox_train as train;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod loop_report;
#[cfg(feature = "cli")]
mod report;
