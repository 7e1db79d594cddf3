//! Reference math against burn's own operations, and what must hold for any input.
#![cfg(feature = "cpu")]

use burn::{
    nn::loss::CrossEntropyLossConfig,
    tensor::{Device, Int, Tensor, TensorData, activation, module},
};
use firebox_tensor::{
    DeviceChoice, burn,
    math::{
        AttentionMask, IGNORED_TARGET, Pca, cross_entropy, cross_entropy_grad, log_sum_exp,
        scaled_dot_product_attention, softmax, symmetric_eigen,
    },
    random::CounterRng,
};
use proptest::prelude::*;

fn cpu() -> Device {
    match DeviceChoice::Cpu.open() {
        Ok(device) => device,
        Err(error) => panic!("{error}"),
    }
}

/// Standard normal values that depend on `seed` alone.
fn normal<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let n: usize = shape.iter().product();
    let mut rng = CounterRng::new(seed, 0);
    let drawn: Vec<f32> = (0..n).map(|_| rng.normal()).collect();
    Tensor::from_data(TensorData::new(drawn, shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_as::<f32>().iter().collect()
}

/// Whole tensors, with the worst element in the message.
#[track_caller]
fn check_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    let shape = found.dims();
    assert_eq!(shape, expected.dims(), "shape");
    let (found, expected) = (values(found), values(expected));
    let error = |i: &usize| (found[*i] - expected[*i]).abs();
    let Some(worst) = (0..found.len()).max_by(|a, b| error(a).total_cmp(&error(b))) else {
        return;
    };
    assert!(
        error(&worst) <= tolerance,
        "worst element {worst} of {shape:?}: expected {}, found {}, tolerance {tolerance}",
        expected[worst],
        found[worst],
    );
}

#[test]
fn softmax_equals_that_of_burn_on_every_axis() {
    let x = normal([3, 5, 7], 1, &cpu()) * 4.0;
    for axis in 0..3 {
        // A few roundings of values up to 1.
        check_close(
            softmax(x.clone(), axis),
            activation::softmax(x.clone(), axis),
            1e-6,
        );
    }
}

#[test]
fn softmax_and_log_sum_exp_do_not_overflow() {
    let x = Tensor::<1>::from_floats([1e30, -1e30, f32::NEG_INFINITY], &cpu());
    assert_eq!(values(softmax(x.clone(), 0)), [1.0, 0.0, 0.0]);
    assert_eq!(values(log_sum_exp(x, 0)), [1e30]);
}

#[test]
fn attention_equals_that_of_burn() {
    let device = cpu();
    let q = normal([2, 3, 5, 8], 1, &device);
    let k = normal([2, 3, 5, 8], 2, &device);
    let v = normal([2, 3, 5, 4], 3, &device);
    for (mask, is_causal) in [(AttentionMask::None, false), (AttentionMask::Causal, true)] {
        let found = scaled_dot_product_attention(q.clone(), k.clone(), v.clone(), mask);
        let options = burn::tensor::ops::AttentionModuleOptions {
            is_causal,
            ..Default::default()
        };
        let (q, k, v) = (q.clone(), k.clone(), v.clone());
        // Sums of 8 products and of 5 weighted values near 1, in another order.
        check_close(found, module::attention(q, k, v, None, None, options), 2e-6);
    }
}

#[test]
fn causal_attention_of_the_last_queries_equals_the_end_of_the_whole() {
    let device = cpu();
    let [q, k, v] = [1, 2, 3].map(|seed| normal([1, 2, 6, 8], seed, &device));
    let whole =
        scaled_dot_product_attention(q.clone(), k.clone(), v.clone(), AttentionMask::Causal);
    let last = scaled_dot_product_attention(q.narrow(2, 4, 2), k, v, AttentionMask::Causal);
    check_close(last, whole.narrow(2, 4, 2), 1e-6);
}

#[test]
fn causal_attention_ignores_later_tokens() {
    let device = cpu();
    let [q, k, v] = [1, 2, 3].map(|seed| normal([1, 2, 6, 8], seed, &device));
    let attend = |k, v| scaled_dot_product_attention(q.clone(), k, v, AttentionMask::Causal);
    let before = attend(k.clone(), v.clone());
    let changed = [k, v].map(|x| {
        let later = normal([1, 2, 2, 8], 9, &device);
        Tensor::cat(vec![x.narrow(2, 0, 4), later], 2)
    });
    let [k, v] = changed;
    check_close(attend(k, v).narrow(2, 0, 4), before.narrow(2, 0, 4), 0.0);
}

#[test]
fn cross_entropy_equals_that_of_burn() {
    let device = cpu();
    let logits = normal([16, 11], 5, &device) * 3.0;
    let targets: Vec<i64> = (0..16).map(|i| i * 7 % 11).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [16]), &device);
    let burns = CrossEntropyLossConfig::new().init(&device);
    let expected = burns.forward(logits.clone(), targets.clone());
    check_close(cross_entropy(logits, targets), expected, 1e-6);
}

#[test]
fn cross_entropy_gradient_equals_autodiff() {
    let device = cpu().autodiff();
    let logits = (normal([6, 11], 5, &device) * 3.0).require_grad();
    let targets = [3, 0, IGNORED_TARGET, 10, IGNORED_TARGET, 7];
    let targets = Tensor::<1, Int>::from_ints(targets, &device);
    let gradients = cross_entropy(logits.clone(), targets.clone()).backward();
    let Some(expected) = logits.grad(&gradients) else {
        panic!("no gradient")
    };
    let found = cross_entropy_grad(
        logits.detach().without_autodiff(),
        targets.without_autodiff(),
    );
    check_close(found, expected, 1e-7);
}

#[test]
fn ignored_targets_change_neither_the_mean_nor_its_gradient() {
    let device = cpu();
    let logits = normal([4, 5], 6, &device);
    let targets = |targets: &[i64]| Tensor::<1, Int>::from_ints(targets, &device);
    let all_but_last = logits.clone().narrow(0, 0, 3);
    let with = [2, 4, 0, IGNORED_TARGET];
    check_close(
        cross_entropy(logits.clone(), targets(&with)),
        cross_entropy(all_but_last.clone(), targets(&with[..3])),
        1e-7,
    );
    check_close(
        cross_entropy_grad(logits.clone(), targets(&with)).narrow(0, 0, 3),
        cross_entropy_grad(all_but_last, targets(&with[..3])),
        0.0,
    );
    let nothing = cross_entropy(logits, targets(&[IGNORED_TARGET; 4]));
    assert_eq!(values(nothing), [0.0]);
}

#[test]
fn eigenvalues_of_a_known_matrix_are_found() {
    // The second difference matrix of size n has eigenvalues 2 - 2 cos(k pi / (n + 1)).
    const N: usize = 12;
    let entry = |i: usize| match (i / N).abs_diff(i % N) {
        0 => 2.0,
        1 => -1.0,
        _ => 0.0,
    };
    let matrix: Vec<f32> = (0..N * N).map(entry).collect();
    let matrix = Tensor::<2>::from_data(TensorData::new(matrix, [N, N]), &cpu());
    let expected: Vec<f32> = (1..=N)
        .rev()
        .map(|k| 2.0 - 2.0 * (k as f32 * std::f32::consts::PI / (N + 1) as f32).cos())
        .collect();
    let expected = Tensor::from_data(TensorData::new(expected, [N]), &cpu());
    check_close(symmetric_eigen(matrix).values, expected, 1e-6);
}

#[test]
fn principal_components_find_a_stretched_direction() {
    let device = cpu();
    let direction = Tensor::<2>::from_floats([[2.0 / 3.0, -2.0 / 3.0, 1.0 / 3.0]], &device);
    let along = normal([2000, 1], 8, &device) * 5.0;
    let noise = normal([2000, 3], 9, &device) * 0.1;
    let points = along.matmul(direction.clone()) + noise + 7.0;
    let pca = Pca::fit(points, 2);
    // The angle's standard error is about 0.1 / 5 / sqrt(2000).
    check_close(pca.components.narrow(0, 0, 1), direction, 3e-3);
    let ratio = values(pca.explained_variance_ratio);
    assert!(ratio[0] > 0.998 && ratio[1] < 0.001, "{ratio:?}");
}

#[test]
fn all_principal_components_rebuild_the_points() {
    let points = normal([40, 6], 10, &cpu()) + 3.0;
    let pca = Pca::fit(points.clone(), 6);
    let coordinates = pca.transform(points.clone());
    check_close(pca.inverse_transform(coordinates.clone()), points, 1e-5);
    let variance = coordinates.var(0).squeeze_dim::<1>(0); // [components]
    check_close(variance, pca.explained_variance, 1e-5);
    check_close(
        pca.explained_variance_ratio.sum(),
        Tensor::ones([1], &cpu()),
        1e-6,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn softmax_sums_to_one_and_ignores_a_shift(
        seed in any::<u64>(),
        scale in 0.0..30.0_f64,
        shift in -50.0..50.0_f64,
    ) {
        let device = cpu();
        let x = normal([4, 9], seed, &device) * scale;
        let probs = softmax(x.clone(), 1);
        check_close(probs.clone().sum_dim(1), Tensor::ones([4, 1], &device), 1e-6);
        // The shifted logits are rounded at a magnitude of about 150: relative error 1e-5.
        check_close(softmax(x + shift, 1), probs, 2e-5);
    }

    #[test]
    fn log_softmax_is_logits_less_log_sum_exp(seed in any::<u64>(), scale in 0.0..30.0_f64) {
        let x = normal([4, 9], seed, &cpu()) * scale;
        let found = x.clone() - log_sum_exp(x.clone(), 1);
        check_close(found, activation::log_softmax(x, 1), 1e-4);
    }

    #[test]
    fn eigenvectors_are_orthonormal_and_rebuild_the_matrix(seed in any::<u64>(), n in 1..20_usize) {
        let device = cpu();
        let half = normal([n, n], seed, &device);
        let matrix = half.clone() + half.transpose();
        let eigen = symmetric_eigen(matrix.clone());
        let (v, identity) = (eigen.vectors, Tensor::<2>::eye(n, &device));
        // f32 products of f64 vectors rounded to f32; the entries of the matrix reach about 8.
        check_close(v.clone().transpose().matmul(v.clone()), identity, 2e-6);
        let scaled = v.clone() * eigen.values.clone().reshape([1, n]);
        check_close(scaled.matmul(v.transpose()), matrix, 3e-5);
        let found = values(eigen.values);
        prop_assert!(found.is_sorted_by(|a, b| a >= b), "{found:?}");
    }
}
