//! What there is to compute on, and why the rest is not.

use serde::Serialize;

use crate::{
    cpu,
    device::{DeviceChoice, DeviceError, cuda_driver},
};

/// One line of `firebox doctor`: a device, whether it can be used, and what it is or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// The device.
    pub choice: DeviceChoice,
    /// Whether [`DeviceChoice::open`] will give it.
    pub usable: bool,
    /// What it is, or why it cannot be used.
    pub reason: String,
}

impl DeviceChoice {
    /// Every device but `auto`, one entry per NVIDIA GPU.
    ///
    /// The driver is asked even where `cuda` is not in the build, so that a GPU left unused shows.
    pub fn available() -> Vec<DeviceStatus> {
        let others = [Self::Wgpu, Self::Vulkan, Self::Tch];
        let others = others.map(|choice| DeviceStatus::new(choice, choice.describe()));
        [DeviceStatus::new(Self::Cpu, Self::Cpu.describe())]
            .into_iter()
            .chain(cuda_statuses())
            .chain(others)
            .collect()
    }

    /// What the device is, if it opens.
    fn describe(self) -> Result<String, DeviceError> {
        let device = self.open()?;
        Ok(match self {
            Self::Cpu => format!(
                "burn-flex, {}, {} threads",
                cpu::simd_level(),
                cpu::n_threads()
            ),
            Self::Tch => "LibTorch on the CPU".to_owned(),
            _ => format!("{device:?}"),
        })
    }
}

impl DeviceStatus {
    fn new(choice: DeviceChoice, description: Result<String, DeviceError>) -> Self {
        match description {
            Ok(reason) => Self {
                choice,
                usable: true,
                reason,
            },
            Err(error) => Self {
                choice,
                usable: false,
                reason: error.to_string(),
            },
        }
    }
}

fn cuda_statuses() -> Vec<DeviceStatus> {
    let first = DeviceChoice::Cuda(0);
    let gpus = match cuda_driver::gpus() {
        Ok(gpus) => gpus,
        Err(_) if !first.is_compiled() => Vec::new(),
        Err(error) => return vec![DeviceStatus::new(first, Err(error))],
    };
    if gpus.is_empty() {
        return vec![DeviceStatus::new(
            first,
            first.open().map(|_| String::new()),
        )];
    }
    let status = |(index, gpu): (usize, cuda_driver::Gpu)| {
        let choice = DeviceChoice::Cuda(index);
        let gib = gpu.memory_bytes as f64 / f64::from(1 << 30);
        let described = format!("{}, {gib:.1} GiB", gpu.name);
        let mut status = DeviceStatus::new(choice, choice.open().map(|_| described.clone()));
        if !status.usable {
            status.reason = format!("{described}; {}", status.reason);
        }
        status
    };
    gpus.into_iter().enumerate().map(status).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_and_usable_ones_open() {
        let statuses = DeviceChoice::available();
        for choice in DeviceChoice::ALL
            .into_iter()
            .filter(|choice| *choice != DeviceChoice::Auto)
        {
            assert!(
                statuses.iter().any(|status| status.choice == choice),
                "{choice}"
            );
        }
        for status in statuses {
            assert_eq!(status.choice.open().is_ok(), status.usable, "{status:?}");
            assert!(!status.reason.is_empty(), "{status:?}");
        }
    }
}
