//! Each kernel against ordinary operations, forward and backward.

use burn::tensor::{DType, Device, Distribution, Int, Tensor, activation};
use proptest::prelude::*;

use super::rms_norm::rms_norm_reference;
use super::softmax_nll::softmax_nll_reference;
use super::swiglu::swiglu_reference;
use super::*;
use crate::host::test_turn;

mod attention;

fn normal<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Largest difference, relative to the largest magnitude.
fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    let size = b.clone().abs().max().into_scalar::<f32>().max(1e-3);
    (a - b).abs().max().into_scalar::<f32>() / size
}

/// Result and gradients of `op` at `inputs`, pulled back by `grad`.
fn pull<const N: usize>(
    op: impl Fn([Tensor<3>; N]) -> Tensor<3>,
    inputs: &[Tensor<3>; N],
    grad: &Tensor<3>,
) -> (Tensor<3>, [Tensor<3>; N]) {
    let tracked = inputs
        .each_ref()
        .map(|x| Tensor::from_inner(x.clone()).require_grad());
    let y = op(tracked.clone());
    let grads = (y.clone() * Tensor::from_inner(grad.clone()))
        .sum()
        .backward();
    (
        y.inner(),
        tracked.map(|x| x.grad(&grads).expect("a gradient")),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Sums of up to some hundred terms in another order: some units of 1e-7 a term. (In rows of one
    // or two values the gradient is the small difference of large numbers, in any order.)
    #[test]
    fn norm_matches_ordinary_operations(batch in 1_usize..4, seq in 1_usize..40, width in 5_usize..150) {
        let _turn = test_turn();
        let (x, gamma) = (normal([batch, seq, width]), normal([1, 1, width]));
        let grad = normal([batch, seq, width]);
        let gain = |gamma: Tensor<3>| gamma.reshape([width]);
        let fused = pull(|[x, gamma]| rms_norm(x, gain(gamma), 1e-5), &[x.clone(), gamma.clone()], &grad);
        let plain = pull(|[x, gamma]| rms_norm_reference(x, gain(gamma), 1e-5), &[x.clone(), gamma.clone()], &grad);
        prop_assert!(difference(fused.0.clone(), plain.0) < 1e-5);
        let [d_x, d_gamma] = fused.1;
        let [e_x, e_gamma] = plain.1;
        prop_assert!(difference(d_x, e_x) < 5e-5);
        prop_assert!(difference(d_gamma, e_gamma) < 2e-5);
        prop_assert!(difference(rms_norm(x, gain(gamma), 1e-5), fused.0) == 0.0, "as without autodiff");
    }

    #[test]
    fn gate_matches_ordinary_operations(batch in 1_usize..4, seq in 1_usize..30, width in 1_usize..90) {
        let shape = [batch, seq, width];
        let (inputs, grad) = ([normal(shape), normal(shape)], normal(shape));
        let fused = pull(|[gate, up]| swiglu(gate, up), &inputs, &grad);
        let plain = pull(|[gate, up]| swiglu_reference(gate, up), &inputs, &grad);
        prop_assert!(difference(fused.0, plain.0) < 2e-6);
        let ([d_gate, d_up], [e_gate, e_up]) = (fused.1, plain.1);
        prop_assert!(difference(d_up, e_up) < 2e-6);
        // The slope of silu is σ + g σ (1 − σ), whose terms cancel near g = −1.28.
        let [gate, up] = inputs;
        let sigmoid = activation::sigmoid(gate.clone());
        let curve = gate * sigmoid.clone() * sigmoid.clone().neg().add_scalar(1.0);
        let magnitude = (grad * up).abs() * (sigmoid + curve.abs());
        prop_assert!(sum_difference(d_gate, e_gate, magnitude) < 2e-6);
    }

    #[test]
    fn softmax_matches_ordinary_operations(rows in 1_usize..20, vocab in 1_usize..2500) {
        let logits = normal([rows, vocab]).mul_scalar(4.0);
        let targets: Vec<usize> = (0..rows).map(|row| row * 37 % vocab).collect();
        let plain = softmax_nll_reference(logits.clone(), &targets);
        let kept = logits.clone();
        let fused = softmax_nll(logits.clone(), &targets);
        prop_assert!(difference(kept, logits) == 0.0, "what others hold stays");
        for (fused, plain) in fused.nll.iter().zip(plain.nll) {
            prop_assert!((fused - plain).abs() < 1e-5 * plain.abs().max(1.0), "{fused} and {plain}");
        }
        prop_assert!(difference(fused.exp, plain.exp) < 1e-6);
        prop_assert!(difference(fused.sum, plain.sum) < 1e-5);
    }
}

#[test]
fn a_frozen_gain_gets_no_gradient_and_a_strided_input_is_read_right() {
    let x = normal([2, 3, 8]);
    let gamma = normal([8]);
    let turned = Tensor::from_inner(x.clone()).require_grad().swap_dims(0, 1);
    let frozen = Tensor::from_inner(gamma.clone());
    let y = rms_norm(turned, frozen.clone(), 1e-5);
    let grads = y.clone().sum().backward();
    assert!(frozen.grad(&grads).is_none());
    let expected = rms_norm_reference(x.swap_dims(0, 1), gamma, 1e-5);
    assert!(difference(y.inner(), expected) < 1e-5);
}

/// Two-dimensional tensors through [`pull`].
fn flat(x: Tensor<3>) -> Tensor<2> {
    x.squeeze_dim(0)
}

/// Sums of up to some hundred terms in another order; where results are rounded as well, the two may
/// lie on either side of a boundary: a unit in the last place is 2⁻⁸ of bf16 and 2⁻¹¹ of f16.
const PRECISIONS: [(MatmulPrecision, f32); 3] = [
    (MatmulPrecision::F32, 2e-6),
    (MatmulPrecision::Bf16, 5e-3),
    (MatmulPrecision::F16, 1e-3),
];

/// Largest difference of a sum of products, relative to the sum of their magnitudes (what rounding is
/// bounded by, also where the sum itself nearly cancels: Higham, "Accuracy and Stability of Numerical
/// Algorithms", equation 3.5). Below 1e-3 of the largest, numbers of f16 have fewer digits.
fn sum_difference<const D: usize>(a: Tensor<D>, b: Tensor<D>, magnitude: Tensor<D>) -> f32 {
    let floor = magnitude.clone().max().into_scalar::<f32>() * 1e-3;
    let relative = (a - b).abs() / magnitude.clamp_min(floor.max(1e-3));
    relative.max().into_scalar::<f32>()
}

/// Compares results and gradients of an operation that only adds and multiplies: the same of the
/// inputs' magnitudes is then the sum of the magnitudes.
fn largest_difference<const N: usize>(
    fused: impl Fn([Tensor<3>; N]) -> Tensor<3>,
    plain: impl Fn(MatmulPrecision, [Tensor<3>; N]) -> Tensor<3>,
    precision: MatmulPrecision,
    inputs: &[Tensor<3>; N],
    grad: &Tensor<3>,
) -> f32 {
    let magnitudes = inputs.each_ref().map(|x| x.clone().abs());
    let exact = |inputs| plain(MatmulPrecision::F32, inputs);
    let (size, d_size) = pull(exact, &magnitudes, &grad.clone().abs());
    let (y, d) = pull(fused, inputs, grad);
    let (plain_y, d_plain) = pull(|inputs| plain(precision, inputs), inputs, grad);
    d.into_iter()
        .zip(d_plain)
        .zip(d_size)
        .map(|((fused, plain), size)| sum_difference(fused, plain, size))
        .fold(sum_difference(y, plain_y, size), f32::max)
}

/// Ordinary operations with sums in f32, as the precisions promise: burn-flex adds narrow products of f16
/// up in f16, and is then further from the sum than the bound.
fn plain_linear(x: Tensor<2>, weight: Tensor<2>, precision: MatmulPrecision) -> Tensor<2> {
    let rounded = |x: Tensor<2>| x.cast(DType::F16).cast(DType::F32);
    match precision {
        MatmulPrecision::F16 => rounded(rounded(x).matmul(rounded(weight).transpose())),
        MatmulPrecision::F32 | MatmulPrecision::Bf16 => {
            linear::linear_reference(x, weight, precision)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn linear_matches_ordinary_operations(rows in 1_usize..150, d_in in 1_usize..90, d_out in 1_usize..130) {
        let inputs = [normal([1, rows, d_in]), normal([1, d_out, d_in])];
        let grad = normal([1, rows, d_out]);
        let plain = |precision, [x, w]: [Tensor<3>; 2]| {
            plain_linear(flat(x), flat(w), precision).unsqueeze()
        };
        for (precision, bound) in PRECISIONS {
            let fused = |[x, w]: [Tensor<3>; 2]| linear(flat(x), flat(w), precision).unsqueeze();
            let found = largest_difference(fused, plain, precision, &inputs, &grad);
            prop_assert!(found < bound, "{precision:?}: {found}");
        }
    }

    #[test]
    fn a_side_path_matches_ordinary_operations(
        rows in 1_usize..90, d_in in 1_usize..90, d_out in 1_usize..130, rank in 1_usize..20,
    ) {
        let inputs = [
            normal([1, rows, d_in]), normal([1, d_out, d_in]), normal([1, rank, d_in]), normal([1, d_out, rank]),
        ];
        let grad = normal([1, rows, d_out]);
        let path = |a, b| LoraPath { a: flat(a), b: flat(b), scaling: 0.75 };
        let plain = |precision, [x, w, a, b]: [Tensor<3>; 4]| {
            let base = plain_linear(flat(x.clone()), flat(w), precision);
            (base + path(a, b).apply(flat(x))).unsqueeze()
        };
        let magnitude = plain(MatmulPrecision::F32, inputs.clone().map(Tensor::abs));
        for (precision, bound) in PRECISIONS {
            let fused = |[x, w, a, b]: [Tensor<3>; 4]| {
                lora_linear(flat(x), flat(w), path(a, b), precision).unsqueeze()
            };
            let (outside_autodiff, (inside, _)) = (fused(inputs.clone()), pull(fused, &inputs, &grad));
            prop_assert!(sum_difference(outside_autodiff, inside, magnitude.clone()) < bound);
            let found = largest_difference(fused, plain, precision, &inputs, &grad);
            prop_assert!(found < bound, "{precision:?}: {found}");
        }
    }

    #[test]
    fn embedding_and_its_gradient_match_ordinary_operations(vocab in 1_usize..40, width in 1_usize..30, n in 1_usize..60) {
        let ids: Vec<usize> = (0..n).map(|i| i * i % vocab).collect();
        let (table, grad) = ([normal([1, vocab, width])], normal([1, n, width]));
        let numbers: Vec<i64> = ids.iter().map(|id| *id as i64).collect();
        let numbers = |table: &Tensor<2>| Tensor::<1, Int>::from_ints(numbers.as_slice(), &table.device());
        let select = |table: Tensor<2>| {
            let ids = numbers(&table);
            table.select(0, ids)
        };
        let fused = |table: Tensor<2>| {
            let ids = numbers(&table);
            embedding(table, ids)
        };
        let fused = pull(|[table]| fused(flat(table)).unsqueeze(), &table, &grad);
        let plain = pull(|[table]| select(flat(table)).unsqueeze(), &table, &grad);
        prop_assert!(difference(fused.0, plain.0) == 0.0);
        let ([d_fused], [d_plain]) = (fused.1, plain.1);
        prop_assert!(difference(d_fused.clone(), d_plain) < 1e-6);
        let zeros = Tensor::zeros([vocab, width], &Device::flex());
        prop_assert!(difference(add_rows(zeros, &ids, flat(grad)), flat(d_fused)) < 1e-6);
    }

    #[test]
    fn outer_products_match_ordinary_operations(depth in 1_usize..300, m in 1_usize..120, n in 1_usize..90) {
        let _turn = test_turn();
        let (c, a, b) = (normal([m, n]), normal([depth, m]), normal([depth, n]));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let turned = |x: &Tensor<2>| x.clone().transpose();
        let magnitude = turned(&a).abs().matmul(b.clone().abs());
        for (precision, bound) in PRECISIONS {
            let plain = plain_linear(turned(&a), turned(&b), precision);
            let added = || add_outer(c.clone(), a.clone(), b.clone(), precision);
            let whole = magnitude.clone() + c.clone().abs();
            let found = sum_difference(added(), c.clone() + plain.clone(), whole);
            prop_assert!(found < bound, "{precision:?}: {found}");
            prop_assert!(difference(pool.install(added), added()) == 0.0);
            let alone = outer(a.clone(), b.clone(), precision);
            let found = sum_difference(alone, plain.clone(), magnitude.clone());
            prop_assert!(found < bound, "{precision:?}: {found}");
            let product = product(turned(&a), b.clone(), precision);
            let found = sum_difference(product, plain, magnitude.clone());
            prop_assert!(found < bound, "{precision:?}: {found}");
        }
    }
}

#[test]
fn a_gradient_that_is_known_is_what_the_leaf_gets() {
    let (x, gradient) = (normal([3, 4]), normal([3, 4]));
    let leaf = Tensor::from_inner(x.clone()).require_grad();
    let scaled = gradient_source(leaf.clone(), gradient.clone()).mul_scalar(0.5);
    let grads = scaled.backward();
    let found = leaf.grad(&grads).expect("a gradient");
    assert!(difference(found, gradient.clone().mul_scalar(0.5)) == 0.0);
    let grads = gradient_source(leaf.clone(), gradient.clone()).backward();
    assert!(difference(leaf.grad(&grads).expect("a gradient"), gradient) == 0.0);
}

#[test]
fn f16_loses_small_gradients_and_overflows_and_a_scaled_loss_brings_them_back() {
    // From a half to one and a half: no number is itself too small for f16.
    let around_one = |shape| normal::<3>(shape).abs().clamp_max(1.0).add_scalar(0.5);
    let (x, w) = (around_one([1, 6, 16]), around_one([1, 5, 16]));
    let product =
        |[x, w]: [Tensor<3>; 2]| linear(flat(x), flat(w), MatmulPrecision::F16).unsqueeze();
    let grads = |factor: f32| {
        let grad = normal([1, 6, 5]).mul_scalar(0.0).add_scalar(factor);
        pull(product, &[x.clone(), w.clone()], &grad).1
    };
    let zeros = |x: &Tensor<3>| {
        let values: Vec<f32> = x.clone().into_data().try_into_vec().unwrap();
        values.iter().filter(|x| **x == 0.0).count()
    };
    let (small, scaled) = (grads(1e-9), grads(1e-9 * 65536.0));
    assert_eq!(zeros(&small[0]) + zeros(&small[1]), 6 * 16 + 5 * 16);
    assert_eq!(zeros(&scaled[0]) + zeros(&scaled[1]), 0);
    let large = product([x.clone().mul_scalar(1e5), w.clone()]).into_data();
    let large: Vec<f32> = large.try_into_vec().unwrap();
    assert!(large.iter().any(|y| !y.is_finite()));
}
