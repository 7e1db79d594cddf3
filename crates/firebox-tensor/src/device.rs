//! Which device to compute on, chosen by name at run time.

mod choice;
mod cuda_driver;
mod error;
mod status;
#[cfg(any(feature = "wgpu", feature = "vulkan"))]
mod wgpu_adapter;

pub use choice::DeviceChoice;
pub use error::DeviceError;
pub use status::DeviceStatus;
