//! The head's loss and the optimizer.

use super::*;
use crate::gpu::{is_gpu_f32, takes_adamw_step};
use crate::kernels::adamw::adamw_step_reference;
use crate::kernels::softmax_nll::softmax_nll_reference;
use crate::kernels::{AdamWFactors, SoftmaxNll};

const FACTORS: AdamWFactors = AdamWFactors {
    keep: 0.999,
    lerp_first: 0.1,
    beta_2: 0.999,
    one_minus_beta_2: 0.001,
    sqrt_bias_correction_2: 0.05,
    eps: 1e-8,
    step_size: 0.01,
};

fn moments(n: usize) -> [Tensor<1>; 4] {
    let second = Tensor::random([n], Distribution::Uniform(0.0, 0.1), &gpu());
    [
        normal([n]),
        normal([n]),
        normal([n]).mul_scalar(0.1),
        second,
    ]
}

// The same operations in the same order; a quotient and a root that WGSL lets be some units of 1e-7
// off.
#[test]
fn a_step_matches_ordinary_operations() {
    let cpu = DeviceChoice::Cpu.open().unwrap();
    for n in [1, 7, 255, 256, 257, 70_001] {
        let tensors = moments(n);
        let on_cpu = tensors.each_ref().map(|x| copy(x, &cpu));
        let same_device = adamw_step_reference(tensors.clone(), FACTORS);
        let on_cpu = adamw_step_reference(on_cpu, FACTORS);
        assert!(takes_adamw_step(&tensors));
        let found = crate::gpu::adamw_step(tensors, FACTORS);
        for (i, found) in found.iter().enumerate() {
            let allowed = 1e-6 * largest(&on_cpu[i]);
            check("against the same device", found, &same_device[i], allowed);
            check("against the CPU", found, &on_cpu[i], allowed);
        }
    }
}

#[test]
fn a_step_leaves_what_others_hold() {
    let tensors = moments(100);
    let before = tensors.each_ref().map(|x| x.to_data());
    let again = kernels::adamw_step(tensors.clone(), FACTORS);
    for (kept, before) in tensors.iter().zip(before) {
        assert_eq!(kept.to_data(), before);
    }
    // Written over their inputs, many steps are the same as from copies.
    let gradient = tensors[1].clone();
    let (mut in_place, mut from_copies) = (again.clone(), again);
    for _ in 0..3 {
        let [p, m, v] = in_place;
        in_place = kernels::adamw_step([p, gradient.clone(), m, v], FACTORS);
        let [p, m, v] = from_copies.clone();
        from_copies = kernels::adamw_step([p, gradient.clone(), m, v], FACTORS);
    }
    for (a, b) in in_place.iter().zip(&from_copies) {
        check("in place", a, b, 0.0);
    }
}

#[test]
fn only_tensors_of_one_length_are_for_the_kernel() {
    let [p, g, m, v] = moments(8);
    assert!(!takes_adamw_step(&[p, g.narrow(0, 0, 1), m, v]));
}

// WGSL lets an exponential be off by 3 + 2|x| units in the last place, and |x| is up to 40 here.
#[test]
fn loss_of_rows_matches_ordinary_operations() {
    let cpu = DeviceChoice::Cpu.open().unwrap();
    for [rows, vocab] in [[1, 1], [3, 2], [7, 127], [2, 256], [5, 257], [3, 5003]] {
        let logits = normal([rows, vocab]).mul_scalar(5.0);
        let targets: Vec<usize> = (0..rows).map(|row| row * 37 % vocab).collect();
        let before = logits.to_data();
        let found = crate::gpu::softmax_nll(logits.clone(), &targets);
        assert_eq!(logits.to_data(), before, "what others hold stays");
        check_loss(&found, &softmax_nll_reference(logits.clone(), &targets));
        check_loss(
            &found,
            &softmax_nll_reference(copy(&logits, &cpu), &targets),
        );
        assert!(is_gpu_f32(&logits));
        let alone = crate::gpu::softmax_nll(logits.mul_scalar(1.0), &targets);
        check("in place", &alone.exp, &found.exp, 0.0);
    }
}

#[track_caller]
fn check_loss(found: &SoftmaxNll, expected: &SoftmaxNll) {
    check("exp", &found.exp, &expected.exp, 1e-5);
    check(
        "sum",
        &found.sum,
        &expected.sum,
        1e-5 * largest(&expected.sum),
    );
    assert_eq!(found.nll.len(), expected.nll.len());
    for (found, expected) in found.nll.iter().zip(&expected.nll) {
        let allowed = 1e-5 * expected.abs().max(1.0);
        assert!(
            (found - expected).abs() <= allowed,
            "{found} and {expected}"
        );
    }
}
