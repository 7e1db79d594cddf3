#![doc = include_str!("../README.md")]

#[cfg(feature = "ballista")]
mod ballista;
mod columns;
mod components;
mod duplicates;
mod engine;
mod error;
mod functions;
mod input;
mod read;
mod report;
mod run;
mod scan;
mod sink;
mod store;
mod write;

#[cfg(feature = "ballista")]
pub use ballista::{ExecutorConfig, serve_executor, serve_scheduler};
pub use engine::{Engine, EngineConfig};
pub use error::ClusterError;
pub use report::RunReport;
pub use run::{RunConfig, run_recipe};
pub use sink::OutputFormat;
#[cfg(feature = "s3")]
pub use store::S3Config;
pub use store::Stores;
