//! The graphics adapters that wgpu finds, and which of them to take.

use burn::tensor::{Device, DeviceKind, DeviceType};

/// The adapters on one graphics API.
pub(super) struct Adapters {
    devices: Vec<Device>,
    named: fn(DeviceKind) -> Device,
}

impl Adapters {
    /// Lists the adapters of `device_type`; `named` makes a device of that type.
    pub(super) fn find(device_type: DeviceType, named: fn(DeviceKind) -> Device) -> Self {
        Self {
            devices: Device::enumerate(device_type).into_vec(),
            named,
        }
    }

    /// The first real GPU: a card of its own before one in the CPU before a virtual one.
    pub(super) fn gpu(&self) -> Option<Device> {
        [
            DeviceKind::DiscreteGpu(0),
            DeviceKind::IntegratedGpu(0),
            DeviceKind::VirtualGpu(0),
        ]
        .map(self.named)
        .into_iter()
        .find(|device| self.devices.contains(device))
    }

    /// The first real GPU, else any adapter.
    pub(super) fn best(&self) -> Option<Device> {
        self.gpu().or_else(|| self.devices.first().cloned())
    }
}
