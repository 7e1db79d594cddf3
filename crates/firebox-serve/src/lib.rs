#![doc = include_str!("../README.md")]

mod api;
mod app;
mod body;
mod config;
mod connections;
mod error;
mod job;
mod limits;
mod metrics;
mod model;
mod request_id;
mod sampling;
mod server;
mod shutdown;

pub use config::{ConfigError, ServerBuilder, ServerConfig};
pub use error::ServeError;
pub use metrics::ServerMetrics;
pub use model::ServedModel;
pub use server::{Server, Shutdown};
pub use shutdown::shutdown_signal;
