//! Run with `cargo run --release -p firebox-train --example mlp`.
//!
//! A perceptron of three layers, trained from scratch to tell two spirals apart: the smallest model
//! that a straight line cannot replace. A killed run goes on where it stopped: run it again.

#![expect(clippy::print_stdout, reason = "an example prints")]

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig},
    tensor::{Device, Int, Tensor, TensorData, activation::relu},
};
use firebox_train::{
    BatchError, BatchSource, Decay, Evaluation, EvaluationConfig, Evaluator, LossError, Place,
    RunFolder, Schedule, Setup, StepLoss, TrainConfig, TrainHooks, TrainStep, train_with,
};
use std::{f32::consts::TAU, path::Path};

const BATCH_SIZE: usize = 64;

#[derive(Module, Debug)]
struct Mlp {
    layer_1: Linear,
    layer_2: Linear,
    layer_3: Linear,
}

impl Mlp {
    fn init(device: &Device) -> Self {
        Self {
            layer_1: LinearConfig::new(2, 32).init(device),
            layer_2: LinearConfig::new(32, 32).init(device),
            layer_3: LinearConfig::new(32, 2).init(device),
        }
    }

    fn forward(&self, points: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.layer_1.forward(points)); // [batch, 32]
        let hidden = relu(self.layer_2.forward(hidden)); // [batch, 32]
        self.layer_3.forward(hidden) // [batch, 2]
    }
}

/// Points `[batch, 2]` and the spiral of each, `[batch]`.
struct Points {
    inputs: Tensor<2>,
    targets: Tensor<1, Int>,
}

impl TrainStep<Points> for Mlp {
    fn loss(&self, batch: &Points) -> Result<StepLoss, LossError> {
        let logits = self.forward(batch.inputs.clone()); // [batch, 2]
        let n_points = logits.dims()[0];
        let device = logits.device();
        let loss = CrossEntropyLossConfig::new().init(&device);
        let mean = loss.forward(logits, batch.targets.clone()); // [1]
        Ok(StepLoss::from_mean(mean, n_points))
    }
}

/// Batch `i` is points `i * 64` to `i * 64 + 63` of an endless, repeatable row of them.
struct Spirals {
    device: Device,
}

impl BatchSource for Spirals {
    type Batch = Points;

    fn batch(&mut self, index: usize) -> Result<Points, BatchError> {
        let numbers = index * BATCH_SIZE..(index + 1) * BATCH_SIZE;
        let points: Vec<([f32; 2], i64)> = numbers.map(point).collect();
        let inputs: Vec<f32> = points.iter().flat_map(|(at, _)| *at).collect();
        let targets: Vec<i64> = points.iter().map(|(_, spiral)| *spiral).collect();
        Ok(Points {
            inputs: Tensor::from_data(TensorData::new(inputs, [BATCH_SIZE, 2]), &self.device),
            targets: Tensor::from_data(TensorData::new(targets, [BATCH_SIZE]), &self.device),
        })
    }
}

/// The golden ratio's multiples spread evenly over the spirals.
fn point(number: usize) -> ([f32; 2], i64) {
    let along = (number as f64 * 0.618_033_988_75).fract() as f32;
    let spiral = (number % 2) as i64;
    let (radius, angle) = (along, along * TAU * 1.5 + spiral as f32 * TAU / 2.0);
    ([radius * angle.cos(), radius * angle.sin()], spiral)
}

/// Scores on points that no batch has.
struct HeldOut(Points);

impl Evaluator<Mlp> for HeldOut {
    fn evaluate(&mut self, model: &Mlp, _step: usize) -> Result<Evaluation, LossError> {
        let loss = TrainStep::loss(model, &self.0)?;
        let found = model.forward(self.0.inputs.clone()).argmax(1); // [batch, 1]
        let right = found.flatten::<1>(0, 1).equal(self.0.targets.clone());
        let accuracy = right.float().mean().into_scalar::<f64>();
        Ok(Evaluation {
            loss: loss.value,
            scores: [("accuracy".to_owned(), accuracy)].into(),
            samples: Vec::new(),
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let device = Device::default();
    device.seed(7);
    let config = TrainConfig {
        evaluation: Some(EvaluationConfig { every_n_steps: 200 }),
        ..TrainConfig::new(
            1000,
            Schedule {
                peak: 0.01,
                n_warmup_steps: 20,
                decay: Decay::Cosine { floor: 0.01 },
            },
        )
    };
    let folder = RunFolder::open(Path::new("runs/spirals"))?;
    let mut held_out = HeldOut(
        Spirals {
            device: device.clone(),
        }
        .batch(1_000_000)?,
    );
    let mut batches = Spirals {
        device: device.clone().autodiff(),
    };
    let hooks = TrainHooks {
        observer: &mut (),
        evaluator: &mut held_out,
        place: Place::Resume(&folder),
        world: None,
        setup: Setup::default(),
    };
    let model = Mlp::init(&device.autodiff());
    let (_, summary) = train_with(model, &mut batches, &config, hooks)?;
    for (step, evaluation) in &summary.evaluations {
        let accuracy = 100.0 * evaluation.scores["accuracy"];
        println!(
            "step {step}: loss {:.4}, {accuracy:.1} % right",
            evaluation.loss
        );
    }
    Ok(())
}
