//! Failures of the arithmetic, on a perceptron.

use burn::tensor::{DType, Device};

use super::{
    Broken, Fixed, Variant,
    perceptron::{Activation, Knobs, Perceptron, Teacher},
};
use crate::{
    adamw::AdamWConfig,
    config::{OptimizerConfig, TrainConfig},
    error::TrainError,
    grad_scaler::GradScalerConfig,
    observer::{Observer, TrainSummary},
    schedule::Schedule,
    sgd::SgdConfig,
    signals::Setup,
    trainer::{Place, TrainHooks, train_with},
};

const SEED: u64 = 7;

/// Trains a perceptron on the teacher's points.
pub(super) fn run(
    knobs: Knobs,
    config: &TrainConfig,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let device = Device::default().autodiff();
    let model = Perceptron::init(knobs, seed, &device);
    let mut batches = Teacher { seed, device };
    let precision = match knobs.dtype {
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        _ => "f32",
    };
    let hooks = TrainHooks {
        observer,
        evaluator: &mut (),
        place: Place::Memory,
        world: None,
        setup: Setup {
            precision: Some(precision.to_owned()),
            ..Setup::default()
        },
    };
    Ok(train_with(model, &mut batches, config, hooks)?.1)
}

/// AdamW at a constant rate.
pub(super) fn adamw(n_steps: usize, rate: f64) -> TrainConfig {
    let adamw = AdamWConfig {
        weight_decay: 0.0,
        ..AdamWConfig::default()
    };
    TrainConfig {
        optimizer: OptimizerConfig::AdamW(adamw),
        ..TrainConfig::new(n_steps, Schedule::constant(rate))
    }
}

fn sgd(n_steps: usize, rate: f64) -> TrainConfig {
    TrainConfig {
        optimizer: OptimizerConfig::Sgd(SgdConfig::default()),
        ..TrainConfig::new(n_steps, Schedule::constant(rate))
    }
}

/// Twenty layers of sigmoids; with ReLU and the initialization made for it, the gradient comes
/// through.
pub(super) fn vanishing_gradients(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let activation = match variant {
        Broken => Activation::Sigmoid,
        Fixed => Activation::Relu,
    };
    let knobs = Knobs {
        n_layers: 20,
        activation,
        ..Knobs::default()
    };
    run(knobs, &adamw(40, 1e-3), SEED, observer)
}

/// Weights five times too large; initialized by the layer's width, and clipped.
pub(super) fn exploding_gradients(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let (gain, max_grad_norm) = match variant {
        Broken => (5.0, None),
        Fixed => (1.0, Some(1.0)),
    };
    let knobs = Knobs {
        n_layers: 8,
        gain,
        ..Knobs::default()
    };
    let config = TrainConfig {
        max_grad_norm,
        ..sgd(40, 1e-2)
    };
    run(knobs, &config, SEED, observer)
}

/// Biases so low that no unit is ever above zero; biases at zero.
pub(super) fn dead_activations(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let bias = match variant {
        Broken => -20.0,
        Fixed => 0.0,
    };
    let knobs = Knobs {
        bias,
        ..Knobs::default()
    };
    run(knobs, &adamw(40, 1e-2), SEED, observer)
}

/// Inputs in the tens of thousands, computed in f16 and in bf16.
pub(super) fn f16_overflow(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let dtype = match variant {
        Broken => DType::F16,
        Fixed => DType::BF16,
    };
    let knobs = Knobs {
        dtype,
        input_scale: 3e4,
        gain: 0.2,
        loss_scale: 1e-5,
        ..Knobs::default()
    };
    run(knobs, &adamw(40, 1e-4), SEED, observer)
}

/// Errors of a thousandth, computed in f16: as they are, and scaled for the backward pass.
pub(super) fn f16_underflow(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let knobs = Knobs {
        dtype: DType::F16,
        loss_scale: 1e-3,
        ..Knobs::default()
    };
    let config = TrainConfig {
        loss_scaling: (variant == Fixed).then(GradScalerConfig::default),
        ..adamw(40, 1e-3)
    };
    run(knobs, &config, SEED, observer)
}

/// A hundred times the rate.
pub(super) fn learning_rate_too_high(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let rate = match variant {
        Broken => 1.0,
        Fixed => 1e-2,
    };
    run(Knobs::default(), &adamw(60, rate), SEED, observer)
}

/// A millionth of the rate.
pub(super) fn learning_rate_too_low(
    variant: Variant,
    observer: &mut dyn Observer,
) -> Result<TrainSummary, TrainError> {
    let rate = match variant {
        Broken => 1e-8,
        Fixed => 1e-2,
    };
    run(Knobs::default(), &adamw(60, rate), SEED, observer)
}
