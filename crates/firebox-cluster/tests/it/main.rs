//! The engine's output beside that of one machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod corpus;
mod one_machine;

#[cfg(feature = "ballista")]
mod ballista;
mod local;
#[cfg(any(feature = "ballista", feature = "s3"))]
mod ports;
#[cfg(feature = "s3")]
mod s3;
