//! The policy against what `torch.autocast` does (`golden/autocast.py`), and what it means for a module.
#![cfg(feature = "cpu")]

use std::collections::BTreeMap;

use firebox_tensor::autocast::{Autocast, Op, OpLists};
use firebox_tensor::burn::nn::{Linear, LinearConfig};
use firebox_tensor::burn::tensor::activation::{log_softmax, relu};
use firebox_tensor::burn::tensor::{DType, Device, Distribution, Tensor};
use firebox_tensor::kernels::MatmulPrecision;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    /// By operation, then half precision, then inputs.
    operations: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>,
}

fn dtype(name: &str) -> DType {
    match name {
        "f32" => DType::F32,
        "bf16" => DType::BF16,
        "f16" => DType::F16,
        other => panic!("{other} is no dtype of the golden file"),
    }
}

/// Losses and sums have inputs and results of one dtype here: what torch returned is what it computed in.
fn compare(golden: &str, lists: OpLists) {
    let golden: Golden = serde_json::from_str(golden).expect("a golden file");
    let mut n_compared = 0;
    for (name, by_half) in &golden.operations {
        let known = Op::LISTED.iter().find(|op| op.name() == name);
        let op = known.copied().unwrap_or(Op::Other);
        for (half, by_inputs) in by_half {
            let autocast = Autocast::with_lists(half.parse().expect("a precision"), lists);
            let half = dtype(half);
            for (inputs, expected) in by_inputs.iter().filter(|(_, dtype)| *dtype != "error") {
                let dtypes: &[DType] = match inputs.as_str() {
                    "f32" => &[DType::F32],
                    "half" => &[half],
                    _ if ONE_INPUT.contains(&name.as_str()) => &[half],
                    _ => &[half, DType::F32],
                };
                let found = autocast.dtype(op, dtypes);
                assert_eq!(
                    found,
                    Some(dtype(expected)),
                    "{name} in {half:?} with inputs {inputs}"
                );
                n_compared += 1;
            }
        }
    }
    assert!(n_compared > 300, "{n_compared}");
    for op in Op::LISTED {
        assert!(
            golden.operations.contains_key(op.name()),
            "{} is compared",
            op.name()
        );
    }
}

/// With one input, "mixed" is the same as "half".
const ONE_INPUT: &[&str] = &[
    "acos",
    "asin",
    "cosh",
    "ctc_loss",
    "cumprod",
    "cumsum",
    "exp",
    "expm1",
    "group_norm",
    "layer_norm",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "nll_loss",
    "norm",
    "pow",
    "prod",
    "quantile",
    "reciprocal",
    "rsqrt",
    "sinh",
    "softmax",
    "softmin",
    "softplus",
    "sum",
    "tan",
    "trace",
    "relu",
    "gelu",
    "silu",
    "sigmoid",
    "sqrt",
    "mean",
];

#[test]
fn cpu_lists_are_torchs() {
    compare(include_str!("golden/autocast_cpu.json"), OpLists::Cpu);
}

#[test]
fn gpu_lists_are_torchs() {
    compare(include_str!("golden/autocast_gpu.json"), OpLists::Gpu);
}

struct Mlp {
    layers: [Linear; 2],
}

impl Mlp {
    /// The first layer in `outer`, the second in `inner`.
    fn loss(&self, x: Tensor<2>, outer: Autocast, inner: Autocast) -> ([DType; 3], Tensor<1>) {
        let layer = |autocast: Autocast, layer: &Linear, x| {
            let bias = layer.bias.as_ref().map(|bias| bias.val());
            autocast.linear(x, layer.weight.val(), bias)
        };
        let hidden = relu(layer(outer, &self.layers[0], x));
        let logits = layer(inner, &self.layers[1], hidden.clone());
        let dtypes = [hidden.dtype(), logits.dtype()];
        let log = outer.run(Op::LogSoftmax, [logits], |[x]| log_softmax(x, 1));
        let first = log.narrow(1, 0, 1);
        let loss = outer.run(Op::NllLoss, [first], |[x]| -x.mean());
        ([dtypes[0], dtypes[1], loss.dtype()], loss)
    }
}

#[test]
fn weights_and_gradients_stay_f32_and_regions_nest() {
    let device = Device::flex();
    // An input of the gate near 0 that rounding turns over would move a gradient further.
    device.seed(7);
    let device = device.autodiff();
    let layer = |d_in, d_out| LinearConfig::new(d_in, d_out).init(&device);
    let model = Mlp {
        layers: [layer(8, 16), layer(16, 4)],
    };
    let x = Tensor::<2>::random([5, 8], Distribution::Normal(0.0, 1.0), &device);
    let exact = Autocast::disabled(&device);
    let gradients = |outer, inner| {
        let (dtypes, loss) = model.loss(x.clone(), outer, inner);
        let value = loss.clone().into_scalar::<f32>();
        let gradients = loss.backward();
        let of_weights = model
            .layers
            .each_ref()
            .map(|layer| layer.weight.grad(&gradients).expect("a gradient"));
        (dtypes, value, of_weights)
    };
    let (_, exact_loss, exact_gradients) = gradients(exact, exact);
    for (lower, half, tolerance) in [
        (MatmulPrecision::Bf16, DType::BF16, 2e-2),
        (MatmulPrecision::F16, DType::F16, 3e-3),
    ] {
        let autocast = Autocast::new(lower, &device);
        for (inner, inner_dtype) in [(autocast, half), (exact, DType::F32)] {
            let (dtypes, loss, of_weights) = gradients(autocast, inner);
            assert_eq!(dtypes, [half, inner_dtype, DType::F32]);
            assert!(
                (loss - exact_loss).abs() < tolerance,
                "{loss} and {exact_loss}"
            );
            for (found, expected) in of_weights.into_iter().zip(&exact_gradients) {
                assert_eq!(found.dtype(), DType::F32);
                let scale = expected.clone().abs().max().into_scalar::<f32>();
                let difference = (found - expected.clone()).abs().max().into_scalar::<f32>();
                // Rounded, so not equal; near, since each factor is within half a unit in its last place.
                assert!(
                    0.0 < difference && difference < tolerance * scale.max(1e-2),
                    "{difference} of {scale}"
                );
            }
        }
    }
}

#[test]
fn inputs_of_several_dtypes_become_the_widest() {
    let device = Device::flex();
    let a = Tensor::<2>::ones([2, 2], &device);
    let b = a.clone().cast(DType::BF16);
    for policy in [
        Autocast::new(MatmulPrecision::Bf16, &device),
        Autocast::disabled(&device),
    ] {
        let both = policy.run(Op::Cat, [b.clone(), a.clone()], |inputs| {
            Tensor::cat(inputs.into(), 0)
        });
        assert_eq!(both.dtype(), DType::F32);
        let narrow = policy.run(Op::Cat, [b.clone(), b.clone()], |inputs| {
            Tensor::cat(inputs.into(), 0)
        });
        assert_eq!(narrow.dtype(), DType::BF16);
        let sum = policy.run(Op::Other, [a.clone(), b.clone()], |[a, b]| a + b);
        assert_eq!(sum.into_data().try_to_vec::<f32>().expect("f32"), [2.0; 4]);
    }
}

#[test]
fn f64_is_left_alone() {
    let device = Device::flex();
    let x = Tensor::<1>::ones([3], (&device, DType::F64));
    let autocast = Autocast::new(MatmulPrecision::Bf16, &device);
    let y = autocast.run(Op::Matmul, [x], |[x]| x);
    assert_eq!(y.dtype(), DType::F64);
}
