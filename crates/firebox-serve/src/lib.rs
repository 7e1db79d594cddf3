#![doc = include_str!("../README.md")]

mod adapters;
mod api;
mod app;
mod auth;
mod body;
mod call_reader;
mod config;
mod connections;
mod embeddings;
mod error;
mod job;
mod keys;
mod limits;
pub mod load;
mod metrics;
mod model;
mod request_id;
mod sampling;
mod schema;
mod server;
mod shutdown;
mod structured;
mod tls;
mod tools;

pub use adapters::AdapterError;
pub use config::{ConfigError, ServerBuilder, ServerConfig};
pub use embeddings::EmbeddingModel;
pub use error::ServeError;
pub use keys::{KeyEntry, KeyError, Keys, add_key, new_key};
pub use metrics::ServerMetrics;
pub use model::ServedModel;
pub use server::{Server, Shutdown};
pub use shutdown::{reload_at_hangup, shutdown_signal};
pub use tls::{Tls, TlsError};
