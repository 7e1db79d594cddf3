#![doc = include_str!("../README.md")]

mod blocks;
mod config;
mod embedder;
mod engine;
mod error;
mod event;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
mod logprobs;
mod lookup;
mod queue;
mod request;
mod scheduler;
mod sequence;
mod serial;
mod stats;

pub use config::{EngineConfig, Speculation};
pub use embedder::{EmbedError, Pooling, TextEmbedder};
pub use engine::{Engine, TextEngine};
pub use error::EngineError;
pub use event::{Event, Events, FinishReason, Finished, Sink, channel};
pub use grammar::Grammar;
pub use logprobs::TokenLogprobs;
pub use request::Request;
pub use stats::EngineStats;
