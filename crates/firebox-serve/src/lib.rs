#![doc = include_str!("../README.md")]

mod api;
mod app;
mod body;
mod config;
mod connections;
mod error;
mod generator;
mod job;
mod limits;
#[cfg(feature = "local")]
mod local_model;
mod metrics;
mod request_id;
mod sampling;
mod server;
mod shutdown;
mod sink;
mod slots;

pub use config::{ConfigError, ServerBuilder, ServerConfig};
pub use error::ServeError;
pub use generator::{
    ChatMessage, FinishReason, Finished, GenerateError, GenerateRequest, Prepared, Prompt,
    TextGenerator,
};
#[cfg(feature = "local")]
pub use local_model::{LocalModel, LocalModelError};
pub use metrics::ServerMetrics;
pub use server::{Server, Shutdown};
pub use shutdown::shutdown_signal;
