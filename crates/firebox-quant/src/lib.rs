#![doc = include_str!("../README.md")]

mod error;
mod quantize;
mod report;

pub use error::QuantError;
pub use quantize::{QuantConfig, quantize_checkpoint};
pub use report::{QuantReport, TensorReport};
