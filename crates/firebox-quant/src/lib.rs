#![doc = include_str!("../README.md")]

#[cfg(feature = "calibrate")]
mod allocation;
#[cfg(feature = "calibrate")]
mod calibrated;
mod config;
mod error;
#[cfg(feature = "calibrate")]
mod gptq;
#[cfg(feature = "calibrate")]
mod hessian;
#[cfg(feature = "calibrate")]
mod journal;
#[cfg(feature = "calibrate")]
mod packer;
mod quantize;
mod report;
#[cfg(feature = "calibrate")]
mod rotate;
mod rounding;
#[cfg(feature = "calibrate")]
mod scaling;
#[cfg(all(test, feature = "calibrate"))]
mod testing;

#[cfg(feature = "calibrate")]
pub use allocation::{AllocatedTensor, Allocation, Budget, allocate};
#[cfg(feature = "calibrate")]
pub use calibrated::{Calibration, Method, quantize_calibrated};
pub use config::{BadTensorRule, QuantConfig, TensorRule};
pub use error::QuantError;
#[cfg(feature = "calibrate")]
pub use gptq::{Gptq, GptqConfig};
#[cfg(feature = "calibrate")]
pub use hessian::{Hessian, InverseFactor};
pub use quantize::quantize_checkpoint;
pub use report::{QuantReport, TensorReport};
#[cfg(feature = "calibrate")]
pub use rotate::rotate_checkpoint;
pub use rounding::{Rounding, weighted_rounding};
#[cfg(feature = "calibrate")]
pub use scaling::Scaling;
