//! Why a device name or a device cannot be used.

use crate::device::DeviceChoice;

/// A device that does not exist, is not in this build, or does not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// Not a device name.
    #[error(
        "unknown device `{found}`: expected one of `auto`, `cpu`, `cuda`, `cuda:N`, `wgpu`, \
         `vulkan`, `tch`"
    )]
    UnknownName {
        /// The name that was given.
        found: String,
    },
    /// `cuda:` with something else than a number behind it.
    #[error("device `{found}`: expected the number of a GPU after `cuda:`, as in `cuda:1`")]
    BadIndex {
        /// The name that was given.
        found: String,
    },
    /// A device whose feature is off.
    #[error(
        "open device `{choice}`: this build has only {} (hint: build with `--features {choice_feature}`)",
        .compiled.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        choice_feature = .choice.feature()
    )]
    NotCompiled {
        /// The device asked for.
        choice: DeviceChoice,
        /// Names of the devices in this build.
        compiled: Vec<&'static str>,
    },
    /// The NVIDIA driver's library cannot be loaded.
    #[error(
        "open device `cuda`: expected the NVIDIA driver, found no library {tried} (hint: install \
         the driver, or use `--device cpu`)"
    )]
    NoCudaDriver {
        /// The file names that were tried.
        tried: String,
    },
    /// The driver is there and reports an error.
    #[error(
        "open device `cuda`: the NVIDIA driver answered {call} with error {code} (hint: does \
         `nvidia-smi` work?)"
    )]
    CudaDriver {
        /// The call of the driver's API.
        call: &'static str,
        /// Its `CUresult`.
        code: i32,
    },
    /// A GPU number that is too large.
    #[error("open device `cuda:{index}`: this machine has {}", count_of_gpus(*.n_devices))]
    NoSuchGpu {
        /// The number asked for.
        index: usize,
        /// How many GPUs there are.
        n_devices: usize,
    },
    /// wgpu found no adapter on the graphics API.
    #[error(
        "open device `{choice}`: expected a graphics adapter, found none (hint: install a \
         driver, or use `--device cpu`)"
    )]
    NoAdapter {
        /// The device asked for.
        choice: DeviceChoice,
    },
}

fn count_of_gpus(n_devices: usize) -> String {
    match n_devices {
        0 => "no NVIDIA GPU".to_owned(),
        1 => "one NVIDIA GPU: `cuda:0`".to_owned(),
        n => format!("{n} NVIDIA GPUs: `cuda:0` to `cuda:{}`", n - 1),
    }
}
