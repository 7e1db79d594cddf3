//! A device by name, and the device itself.

use std::{fmt, str::FromStr};

use burn::tensor::Device;
#[cfg(any(feature = "wgpu", feature = "vulkan"))]
use burn::tensor::DeviceType;
use serde::{Deserialize, Serialize};

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
use crate::device::wgpu_adapter::Adapters;
use crate::device::{DeviceError, cuda_driver};

/// A device by the name that users give it: `auto`, `cpu`, `cuda`, `cuda:1`, `wgpu`, `vulkan` or
/// `tch`.
///
/// # Examples
/// ```
/// use firebox_tensor::DeviceChoice;
///
/// let choice: DeviceChoice = "cuda:1".parse()?;
/// assert_eq!(choice, DeviceChoice::Cuda(1));
/// let device = DeviceChoice::Auto.open()?; // a GPU that works, else the CPU
/// # Ok::<(), firebox_tensor::DeviceError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first that works of CUDA, Vulkan and wgpu on a real GPU, and the CPU.
    #[default]
    Auto,
    /// burn-flex: this machine's CPU, all cores.
    Cpu,
    /// NVIDIA GPU number `n`, through CUDA.
    Cuda(usize),
    /// The best graphics adapter, through WGSL shaders. May be a software one.
    Wgpu,
    /// The best graphics adapter, through Vulkan and SPIR-V shaders. May be a software one.
    Vulkan,
    /// LibTorch on the CPU.
    Tch,
}

impl DeviceChoice {
    /// One of each kind, in the order of the documentation; CUDA stands for its first GPU.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Cpu,
        Self::Cuda(0),
        Self::Wgpu,
        Self::Vulkan,
        Self::Tch,
    ];

    /// Opens the device.
    ///
    /// Everything that would make burn panic later (no driver, no adapter, no such GPU) is looked
    /// for first.
    ///
    /// # Errors
    /// If the device is not in this build, or is not there or does not work. [`Self::Auto`] fails
    /// only in a build without the CPU.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Auto => Self::open_auto(),
            Self::Cpu => self.open_cpu(),
            Self::Cuda(index) => self.open_cuda(index),
            Self::Wgpu => self.open_wgpu(),
            Self::Vulkan => self.open_vulkan(),
            Self::Tch => self.open_tch(),
        }
    }

    /// The device of process `index` of several on this machine that compute together: they take
    /// CUDA's GPUs in turn, unless a device was named.
    #[must_use]
    pub fn of_process(self, index: usize) -> Self {
        let n_gpus = match Self::Cuda(0).is_compiled() {
            true => cuda_driver::n_devices().unwrap_or(0),
            false => 0,
        };
        self.in_turn(index, n_gpus)
    }

    fn in_turn(self, index: usize, n_gpus: usize) -> Self {
        match self {
            Self::Auto if n_gpus > 1 => Self::Cuda(index % n_gpus),
            named => named,
        }
    }

    /// Whether this build contains the device.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::Auto => Self::ALL
                .into_iter()
                .any(|c| c != Self::Auto && c.is_compiled()),
            Self::Cpu => cfg!(feature = "cpu"),
            Self::Cuda(_) => cfg!(feature = "cuda"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Tch => cfg!(feature = "tch"),
        }
    }

    /// The Cargo feature that brings the device into a build.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Tch => "tch",
        }
    }

    /// A GPU is worth more than the CPU, a software adapter is not.
    fn open_auto() -> Result<Device, DeviceError> {
        if let Ok(device) = Self::Cuda(0).open() {
            return Ok(device);
        }
        #[cfg(feature = "vulkan")]
        if let Some(device) = Adapters::find(DeviceType::Vulkan, Device::vulkan).gpu() {
            return Ok(device);
        }
        #[cfg(feature = "wgpu")]
        if let Some(device) = Adapters::find(DeviceType::Wgpu, Device::wgpu).gpu() {
            return Ok(device);
        }
        Self::Cpu
            .open()
            .or_else(|error| Self::Tch.open().map_err(|_| error))
    }

    fn open_cpu(self) -> Result<Device, DeviceError> {
        #[cfg(feature = "cpu")]
        return Ok(Device::flex());
        #[cfg(not(feature = "cpu"))]
        Err(self.not_compiled())
    }

    fn open_cuda(self, index: usize) -> Result<Device, DeviceError> {
        if !self.is_compiled() {
            return Err(self.not_compiled());
        }
        let n_devices = cuda_driver::n_devices()?;
        if index >= n_devices {
            return Err(DeviceError::NoSuchGpu { index, n_devices });
        }
        #[cfg(feature = "cuda")]
        return Ok(Device::cuda(index));
        #[cfg(not(feature = "cuda"))]
        Err(self.not_compiled())
    }

    fn open_wgpu(self) -> Result<Device, DeviceError> {
        #[cfg(feature = "wgpu")]
        return Adapters::find(DeviceType::Wgpu, Device::wgpu)
            .best()
            .ok_or(DeviceError::NoAdapter { choice: self });
        #[cfg(not(feature = "wgpu"))]
        Err(self.not_compiled())
    }

    fn open_vulkan(self) -> Result<Device, DeviceError> {
        #[cfg(feature = "vulkan")]
        return Adapters::find(DeviceType::Vulkan, Device::vulkan)
            .best()
            .ok_or(DeviceError::NoAdapter { choice: self });
        #[cfg(not(feature = "vulkan"))]
        Err(self.not_compiled())
    }

    fn open_tch(self) -> Result<Device, DeviceError> {
        #[cfg(feature = "tch")]
        #[expect(deprecated, reason = "burn drops burn-tch after 0.22; so do we then")]
        return Ok(Device::libtorch());
        #[cfg(not(feature = "tch"))]
        Err(self.not_compiled())
    }

    /// The error for a device whose feature is off.
    fn not_compiled(self) -> DeviceError {
        let compiled = Self::ALL.into_iter().filter(|choice| choice.is_compiled());
        let compiled = compiled
            .filter(|choice| *choice != Self::Auto)
            .map(Self::feature)
            .collect();
        DeviceError::NotCompiled {
            choice: self,
            compiled,
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Cuda(index) if *index > 0 => f.pad(&format!("cuda:{index}")),
            named => f.pad(named.feature()),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let lower = name.to_ascii_lowercase();
        if let Some(index) = lower.strip_prefix("cuda:") {
            let bad_index = |_| DeviceError::BadIndex {
                found: name.to_owned(),
            };
            return index.parse().map(Self::Cuda).map_err(bad_index);
        }
        Self::ALL
            .into_iter()
            .find(|choice| choice.to_string() == lower)
            .ok_or_else(|| DeviceError::UnknownName {
                found: name.to_owned(),
            })
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = DeviceError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests;
