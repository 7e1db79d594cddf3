#![doc = include_str!("../README.md")]

#[cfg(feature = "burn")]
pub mod autocast;
#[cfg(feature = "burn")]
mod device;

pub mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
mod half_matrix;
pub mod host;
#[cfg(feature = "burn")]
pub mod kernels;
#[cfg(feature = "burn")]
pub mod math;
pub mod memory;
pub mod packed;
pub mod random;

#[cfg(feature = "burn")]
pub use burn;
#[cfg(feature = "burn")]
pub use device::{DeviceChoice, DeviceError, DeviceStatus};
pub use half_matrix::HalfMatrix;
