//! Norm and gate.

use super::*;
use crate::kernels::rms_norm::rms_norm_reference;
use crate::kernels::swiglu::swiglu_reference;

/// Batch, rows and width: one, primes, the cube's size and its neighbours, more than a run of rows.
const SHAPES: [[usize; 3]; 8] = [
    [1, 1, 1],
    [1, 1, 7],
    [2, 3, 31],
    [1, 5, 127],
    [3, 1, 256],
    [2, 65, 64],
    [1, 131, 257],
    [2, 3, 1031],
];

// Sums of up to a thousand terms in another order, and a quotient and a root that WGSL lets be some
// units of 1e-7 off.
#[test]
fn norm_and_its_gradients_match_ordinary_operations() {
    for [batch, seq, width] in SHAPES {
        let gain = |gamma: Tensor<3>| gamma.narrow(0, 0, 1).narrow(1, 0, 1).reshape([width]);
        check_op(
            |[x, gamma]| crate::gpu::rms_norm(&x, &gain(gamma), 1e-5).expect("a kernel"),
            |[x, gamma]| rms_norm_reference(x, gain(gamma), 1e-5),
            [normal([batch, seq, width]), normal([1, 1, width])],
            1e-5,
        );
    }
}

// A few operations an element; WGSL's exp may be some units of 1e-7 off.
#[test]
fn gate_and_its_gradients_match_ordinary_operations() {
    for shape in SHAPES {
        check_op(
            |[gate, up]| crate::gpu::swiglu(&gate, &up).expect("a kernel"),
            |[gate, up]| swiglu_reference(gate, up),
            [normal(shape).mul_scalar(5.0), normal(shape)],
            5e-6,
        );
    }
}

#[test]
fn gates_far_from_zero_stay_finite() {
    let gate = Tensor::<3>::from_floats([[[-1e4, -100.0, -0.0, 100.0, 1e4]]], &gpu());
    let up = Tensor::ones([1, 1, 5], &gpu());
    let found = pull(
        |[gate, up]| kernels::swiglu(gate, up),
        &[gate, up.clone()],
        &up,
    );
    let expected = [
        [0.0, 0.0, 0.0, 100.0, 1e4],
        [0.0, 0.0, 0.5, 1.0, 1.0],
        [0.0, 0.0, 0.0, 100.0, 1e4],
    ];
    for (found, expected) in found.into_iter().zip(expected) {
        let expected = Tensor::<3>::from_floats([[expected]], &gpu());
        check("far out", &found, &expected, 1e-6 * largest(&expected));
    }
}

#[test]
fn views_are_read_in_their_order_and_a_frozen_gain_gets_no_gradient() {
    let (x, gamma) = (normal([3, 5, 40]), normal([40]));
    let turned = Tensor::from_inner(x.clone()).require_grad().swap_dims(0, 1);
    let frozen = Tensor::from_inner(gamma.clone());
    let y = kernels::rms_norm(turned, frozen.clone(), 1e-5);
    let grads = y.clone().sum().backward();
    assert!(frozen.grad(&grads).is_none());
    let expected = rms_norm_reference(x.swap_dims(0, 1), gamma, 1e-5);
    check("turned", &y.inner(), &expected, 1e-5 * largest(&expected));
}

#[test]
fn empty_tensors_are_left_to_ordinary_operations() {
    let empty = || Tensor::<3>::zeros([2, 0, 16], &gpu());
    assert!(crate::gpu::rms_norm(&empty(), &normal([16]), 1e-5).is_none());
    assert!(crate::gpu::swiglu(&empty(), &empty()).is_none());
}
