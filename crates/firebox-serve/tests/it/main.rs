//! The server over real TCP, with a fake in the model's place.

#![expect(clippy::unwrap_used, reason = "what is not there fails the test")]

mod adapters;
mod chat;
mod client;
mod completions;
mod disconnect;
mod document;
mod embeddings;
mod equality;
mod errors;
mod fake;
mod generate;
mod keys;
mod limits;
mod load;
mod local_model;
mod log;
mod page;
mod shutdown;
mod streaming;
