//! Whole engines over small models.

#![expect(clippy::unwrap_used, reason = "what is not there fails the test")]

mod answers;
mod common;
mod life;
mod schemas;
