//! Optimizers and clipping against PyTorch's trajectories (`golden/optimizers.py` made them).

#![expect(
    clippy::unwrap_used,
    reason = "a test without its golden file should stop"
)]

mod golden;

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor},
};
use firebox_train::{AdamWConfig, Optimizer, ParamGradients, SgdConfig, clip_grad_norm, grad_norm};
use golden::{assert_close, floats, golden};
use serde_json::Value;

/// Both sides round to f32 at every operation, but torch fuses some multiply-adds: a few units in
/// the last place over eight steps.
const RELATIVE: f64 = 2e-6;

#[derive(Module, Debug)]
struct Layer {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    /// Has no gradient in any test, and must never move.
    frozen: Param<Tensor<1>>,
}

impl Layer {
    fn start(dtype: DType) -> Self {
        let start = &golden()["start"];
        let tensor = |values: Vec<f32>| {
            Tensor::<1>::from_floats(values.as_slice(), &Device::default())
                .cast(dtype)
                .autodiff()
        };
        let weight = tensor(floats(&start["weight"])).reshape([4, 3]);
        Self {
            weight: Param::from_tensor(weight),
            bias: Param::from_tensor(tensor(floats(&start["bias"]))),
            frozen: Param::from_tensor(tensor(vec![1.0; 5])).set_require_grad(false),
        }
    }

    /// Gradients through a real backward pass: those of `sum(p * g)`.
    fn backward(&self, gradient: &Value) -> ParamGradients {
        let device = self.bias.device();
        let dot = |value: Tensor<1>, name: &str| {
            let gradient = floats(&gradient[name]);
            let gradient = Tensor::<1>::from_floats(gradient.as_slice(), &device);
            (value.clone() * gradient.cast(value.dtype())).sum()
        };
        let loss = dot(self.weight.val().reshape([12]), "weight") + dot(self.bias.val(), "bias");
        ParamGradients::collect(&mut loss.backward(), self)
    }
}

#[track_caller]
fn check(mut init: impl FnMut() -> Box<dyn Optimizer>, case: &str, max_norm: Option<f64>) {
    // Parameters in f32 take the in-place path of the CPU; any other dtype takes the tensor
    // operations that serve the other devices.
    for dtype in [DType::F32, DType::F64] {
        check_trajectory(init(), case, max_norm, dtype);
    }
}

#[track_caller]
fn check_trajectory(
    mut optimizer: Box<dyn Optimizer>,
    case: &str,
    max_norm: Option<f64>,
    dtype: DType,
) {
    let golden = golden();
    let expected = &golden["cases"][case];
    let mut layer = Layer::start(dtype);
    for (step, gradient) in golden["gradients"].as_array().unwrap().iter().enumerate() {
        let mut gradients = layer.backward(gradient);
        assert_eq!(gradients.len(), 2);
        if let Some(max_norm) = max_norm {
            let norm = clip_grad_norm(&mut gradients, max_norm);
            let expected_norm = expected["norms"][step].as_f64().unwrap();
            assert!(
                (norm / expected_norm - 1.0).abs() < RELATIVE,
                "{norm} {expected_norm}"
            );
        }
        let rate = golden["learning_rates"][step].as_f64().unwrap();
        layer = optimizer.step(layer, &mut gradients, rate);
        assert!(gradients.is_empty());

        let at = |name: &str| floats(&expected["steps"][step][name]);
        let what = |name: &str| format!("{case}, {dtype:?}, step {step}, {name}");
        assert_close(layer.weight.val(), &at("weight"), RELATIVE, &what("weight"));
        assert_close(layer.bias.val(), &at("bias"), RELATIVE, &what("bias"));
        assert_close(layer.frozen.val(), &[1.0; 5], 0.0, &what("frozen"));
        assert_eq!(layer.weight.dtype(), dtype);
        assert!(layer.weight.is_require_grad() && !layer.frozen.is_require_grad());
    }
}

#[test]
fn adamw_with_defaults_follows_torch() {
    check(
        || Box::new(AdamWConfig::default().init()),
        "adamw_defaults",
        None,
    );
}

#[test]
fn adamw_with_other_settings_follows_torch() {
    let config = AdamWConfig {
        beta_1: 0.8,
        beta_2: 0.95,
        eps: 1e-6,
        weight_decay: 0.1,
    };
    check(|| Box::new(config.init()), "adamw_other_settings", None);
}

#[test]
fn adamw_on_clipped_gradients_follows_torch() {
    let config = AdamWConfig {
        weight_decay: 0.0,
        ..AdamWConfig::default()
    };
    check(
        || Box::new(config.init()),
        "adamw_without_decay_clipped",
        Some(0.5),
    );
}

#[test]
fn plain_sgd_follows_torch() {
    check(|| Box::new(SgdConfig::default().init()), "sgd_plain", None);
}

#[test]
fn sgd_with_momentum_and_decay_follows_torch() {
    let config = SgdConfig {
        momentum: 0.9,
        weight_decay: 0.05,
    };
    check(|| Box::new(config.init()), "sgd_momentum_and_decay", None);
}

#[test]
fn sgd_on_clipped_gradients_follows_torch() {
    let config = SgdConfig {
        momentum: 0.9,
        weight_decay: 0.0,
    };
    check(|| Box::new(config.init()), "sgd_clipped", Some(0.5));
}

#[test]
fn a_clipped_norm_is_the_limit_and_a_smaller_one_stays() {
    let layer = Layer::start(DType::F32);
    let gradient = &golden()["gradients"][4];
    let norm = grad_norm(&mut layer.backward(gradient));
    assert!(norm > 1.0);

    let mut gradients = layer.backward(gradient);
    assert_eq!(clip_grad_norm(&mut gradients, 1.0), norm);
    // The 1e-6 in the formula and f32 rounding keep it from being exactly 1.
    assert!((grad_norm(&mut gradients) - 1.0).abs() < 2e-6);

    let mut gradients = layer.backward(gradient);
    assert_eq!(clip_grad_norm(&mut gradients, norm * 2.0), norm);
    assert_eq!(grad_norm(&mut gradients), norm);
}

#[test]
fn a_step_leaves_a_shared_copy_of_the_module_as_it_was() {
    let layer = Layer::start(DType::F32);
    let before = layer.clone();
    let mut gradients = layer.backward(&golden()["gradients"][4]);
    let after = AdamWConfig::default()
        .init()
        .step(layer, &mut gradients, 0.1);
    let start = floats(&golden()["start"]["weight"]);
    assert_close(before.weight.val(), &start, 0.0, "copy");
    let worst: f32 = (after.weight.val() - before.weight.val())
        .abs()
        .min()
        .into_scalar();
    assert!(
        worst > 0.05,
        "every element moves by about the learning rate"
    );
}
