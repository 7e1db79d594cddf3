//! Each kernel against ordinary operations on the same device and on the CPU, forward and backward.
//!
//! They need an adapter, and fail where there is none; a software one will do (Debian's
//! `mesa-vulkan-drivers`). With the feature `cuda` they need an NVIDIA card.

use burn::tensor::{Device, Distribution, Tensor};

use crate::device::DeviceChoice;
use crate::kernels;

mod packed;
mod rows;
mod sequences;
mod training;

/// The device under test.
fn gpu() -> Device {
    let choice = if cfg!(feature = "cuda") {
        DeviceChoice::Cuda(0)
    } else if cfg!(feature = "vulkan") {
        DeviceChoice::Vulkan
    } else {
        DeviceChoice::Wgpu
    };
    choice.open().unwrap_or_else(|error| {
        panic!("the GPU kernels' tests need a graphics adapter, a software one will do: {error}")
    })
}

fn normal<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &gpu())
}

/// Copies of the same values elsewhere.
fn copy<const D: usize>(x: &Tensor<D>, device: &Device) -> Tensor<D> {
    Tensor::from_data(x.to_data(), device)
}

/// The largest magnitude, and at least one thousandth.
fn largest<const D: usize>(x: &Tensor<D>) -> f32 {
    x.to_data()
        .iter::<f32>()
        .fold(1e-3, |size, x| size.max(x.abs()))
}

/// Fails unless every difference is at most `allowed`.
#[track_caller]
fn check<const D: usize>(what: &str, found: &Tensor<D>, expected: &Tensor<D>, allowed: f32) {
    let (found, expected) = (found.to_data(), expected.to_data());
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let pairs = found.iter::<f32>().zip(expected.iter::<f32>());
    for (i, (found, expected)) in pairs.enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= allowed,
            "{what}, element {i}: expected {expected}, found {found}: {error} apart, {allowed} allowed"
        );
    }
}

/// Result and gradients of `op` at `inputs`, pulled back by `grad`.
fn pull<const D: usize, const N: usize>(
    op: impl Fn([Tensor<D>; N]) -> Tensor<D>,
    inputs: &[Tensor<D>; N],
    grad: &Tensor<D>,
) -> Vec<Tensor<D>> {
    let tracked = inputs
        .each_ref()
        .map(|x| Tensor::from_inner(x.clone()).require_grad());
    let y = op(tracked.clone());
    let grads = (y.clone() * Tensor::from_inner(grad.clone()))
        .sum()
        .backward();
    let gradients = tracked.map(|x| x.grad(&grads).expect("a gradient"));
    [y.inner()].into_iter().chain(gradients).collect()
}

/// `fused` and its gradients against `plain`, on the GPU and on the CPU; and without autodiff.
///
/// The tolerance is relative: for the result to its largest magnitude, for the gradients to the
/// largest of all of them, since one may be the small difference of terms as large as another.
#[track_caller]
fn check_op<const D: usize, const N: usize>(
    fused: impl Fn([Tensor<D>; N]) -> Tensor<D>,
    plain: impl Fn([Tensor<D>; N]) -> Tensor<D>,
    inputs: [Tensor<D>; N],
    tolerance: f32,
) {
    let y = fused(inputs.clone());
    let grad = normal(y.dims());
    let found = pull(&fused, &inputs, &grad);
    check("without autodiff", &y, &found[0], 0.0);
    let same_device = pull(&plain, &inputs, &grad);
    let cpu = crate::device::DeviceChoice::Cpu
        .open()
        .expect("the CPU's backend");
    let on_cpu = inputs.each_ref().map(|x| copy(x, &cpu));
    let on_cpu = pull(&plain, &on_cpu, &copy(&grad, &cpu));
    let gradients = on_cpu[1..].iter().map(largest).fold(0.0, f32::max);
    for (i, found) in found.iter().enumerate() {
        let (what, size) = match i {
            0 => ("result".to_owned(), largest(&on_cpu[0])),
            i => (format!("gradient of input {}", i - 1), gradients),
        };
        let allowed = tolerance * size;
        check(
            &format!("{what} against the same device"),
            found,
            &same_device[i],
            allowed,
        );
        check(
            &format!("{what} against the CPU"),
            found,
            &on_cpu[i],
            allowed,
        );
    }
}
