use burn::tensor::Tensor;

use super::*;

#[track_caller]
fn check_error(name: &str, expected: &str) {
    match name.parse::<DeviceChoice>() {
        Ok(choice) => panic!("`{name}` was read as {choice:?}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

#[test]
fn names_are_read_back() {
    for choice in DeviceChoice::ALL.into_iter().chain([DeviceChoice::Cuda(3)]) {
        assert_eq!(choice.to_string().parse(), Ok(choice));
        let json = serde_json::to_string(&choice).unwrap();
        assert_eq!(json, format!("\"{choice}\""));
        assert_eq!(serde_json::from_str::<DeviceChoice>(&json).unwrap(), choice);
    }
    assert_eq!("CUDA:0".parse(), Ok(DeviceChoice::Cuda(0)));
}

#[test]
fn an_unknown_name_lists_the_valid_ones() {
    check_error(
        "gpu",
        "unknown device `gpu`: expected one of `auto`, `cpu`, `cuda`, `cuda:N`, `wgpu`, `vulkan`, \
         `tch`",
    );
    check_error(
        "cuda:one",
        "device `cuda:one`: expected the number of a GPU after `cuda:`, as in `cuda:1`",
    );
    check_error(
        "cuda:-1",
        "device `cuda:-1`: expected the number of a GPU after `cuda:`, as in `cuda:1`",
    );
}

#[test]
fn a_device_outside_the_build_names_its_feature() {
    for choice in DeviceChoice::ALL
        .into_iter()
        .filter(|choice| !choice.is_compiled())
    {
        let error = choice
            .open()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.starts_with(&format!("open device `{choice}`: this build has")),
            "{error}"
        );
        assert!(
            error.contains(&format!("--features {}`", choice.feature())),
            "{error}"
        );
    }
}

#[test]
fn a_gpu_number_out_of_range_tells_how_many_there_are() {
    let error = |index, n_devices| DeviceError::NoSuchGpu { index, n_devices }.to_string();
    assert_eq!(
        error(0, 0),
        "open device `cuda:0`: this machine has no NVIDIA GPU"
    );
    assert_eq!(
        error(1, 1),
        "open device `cuda:1`: this machine has one NVIDIA GPU: `cuda:0`"
    );
    assert_eq!(
        error(9, 4),
        "open device `cuda:9`: this machine has 4 NVIDIA GPUs: `cuda:0` to `cuda:3`"
    );
}

#[cfg(feature = "cuda")]
#[test]
fn cuda_without_a_driver_is_an_error_and_auto_goes_on() {
    match cuda_driver::n_devices() {
        Err(expected) => assert_eq!(DeviceChoice::Cuda(0).open().err(), Some(expected)),
        Ok(n) => assert_eq!(
            DeviceChoice::Cuda(n).open().err(),
            Some(DeviceError::NoSuchGpu {
                index: n,
                n_devices: n
            })
        ),
    }
}

#[cfg(feature = "cpu")]
#[test]
fn auto_and_cpu_open_a_device_that_computes() {
    for choice in [DeviceChoice::Auto, DeviceChoice::Cpu] {
        let device = choice.open().unwrap();
        let sum = Tensor::<1>::from_floats([1.0, 2.0, 3.0], &device).sum();
        assert_eq!(sum.into_scalar::<f32>(), 6.0);
    }
}

#[test]
fn processes_take_the_gpus_in_turn_unless_a_device_was_named() {
    use DeviceChoice::{Auto, Cpu, Cuda};
    let taken = [0, 1, 2, 3, 4].map(|index| Auto.in_turn(index, 3));
    assert_eq!(taken, [Cuda(0), Cuda(1), Cuda(2), Cuda(0), Cuda(1)]);
    for choice in [Cpu, Cuda(1)] {
        assert_eq!(choice.in_turn(2, 3), choice);
    }
    // One GPU or none: `auto` says which, or why not.
    assert_eq!([0, 1].map(|n_gpus| Auto.in_turn(1, n_gpus)), [Auto, Auto]);
}
