//! The server over real TCP, with a fake in the model's place.

#![expect(clippy::unwrap_used, reason = "what is not there fails the test")]

mod chat;
mod client;
mod completions;
mod disconnect;
mod document;
mod errors;
mod fake;
mod generate;
mod keys;
mod limits;
mod local_model;
mod log;
mod page;
mod shutdown;
mod streaming;
