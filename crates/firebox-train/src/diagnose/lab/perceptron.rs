//! A perceptron with the knobs that failures of the arithmetic turn on.

use burn::{
    module::{Module, Param},
    tensor::{
        DType, Device, Distribution, Tensor, TensorData,
        activation::{relu, sigmoid},
    },
};
use firebox_tensor::random::CounterRng;

use crate::{
    batch::BatchSource,
    error::{BatchError, LossError},
    evaluation::{Evaluation, Evaluator},
    step::{StepLoss, TrainStep},
};

pub(super) const WIDTH: usize = 32;
const BATCH: usize = 32;

/// What is done between layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Sigmoid,
    Relu,
}

/// How the perceptron is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knobs {
    pub(super) n_layers: usize,
    pub(super) activation: Activation,
    /// Standard deviation of the weights, in units of `sqrt(2 / inputs)` (He et al., 2015).
    pub(super) gain: f64,
    /// Where the hidden biases start.
    pub(super) bias: f64,
    /// In what the products are computed.
    pub(super) dtype: DType,
    /// Multiplies the inputs.
    pub(super) input_scale: f64,
    /// Multiplies the outputs' errors.
    pub(super) loss_scale: f64,
    /// Share of the hidden values that are dropped, in training and, if forgotten, after.
    pub(super) dropout: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            n_layers: 3,
            activation: Activation::Relu,
            gain: 1.0,
            bias: 0.0,
            dtype: DType::F32,
            input_scale: 1.0,
            loss_scale: 1.0,
            dropout: 0.0,
        }
    }
}

#[derive(Module, Debug)]
pub(super) struct Layer {
    /// `[in, out]`.
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
pub(super) struct Perceptron {
    layers: Vec<Layer>,
    #[module(skip)]
    knobs: Knobs,
}

impl Perceptron {
    pub(super) fn init(knobs: Knobs, seed: u64, device: &Device) -> Self {
        let layers = (0..knobs.n_layers).map(|number| {
            let is_last = number + 1 == knobs.n_layers;
            let d_out = if is_last { 1 } else { WIDTH };
            let std = knobs.gain * (2.0 / WIDTH as f64).sqrt();
            let bias = if is_last { 0.0 } else { knobs.bias };
            Layer {
                weight: Param::from_tensor(normal(
                    [WIDTH, d_out],
                    std,
                    seed,
                    number as u64,
                    device,
                )),
                bias: Param::from_tensor(Tensor::full([d_out], bias, device)),
            }
        });
        Self {
            layers: layers.collect(),
            knobs,
        }
    }

    /// `[batch, WIDTH]` to `[batch, 1]`.
    pub(super) fn forward(&self, inputs: Tensor<2>, drops: bool) -> Tensor<2> {
        let dtype = self.knobs.dtype;
        let mut values = inputs.mul_scalar(self.knobs.input_scale);
        for (number, layer) in self.layers.iter().enumerate() {
            // Operands and result in the type, as under autocast; sums and biases in f32.
            let product = values.cast(dtype).matmul(layer.weight.val().cast(dtype));
            values = product.cast(DType::F32) + layer.bias.val().unsqueeze(); // [batch, d_out]
            if number + 1 == self.layers.len() {
                break;
            }
            values = match self.knobs.activation {
                Activation::Sigmoid => sigmoid(values),
                Activation::Relu => relu(values),
            };
            if drops && self.knobs.dropout > 0.0 {
                let keep = 1.0 - self.knobs.dropout;
                let mask = Tensor::random(
                    values.shape(),
                    Distribution::Bernoulli(keep),
                    &values.device(),
                );
                values = values * mask.div_scalar(keep);
            }
        }
        values
    }
}

/// Normal values by place.
pub(super) fn normal(
    shape: [usize; 2],
    std: f64,
    seed: u64,
    stream: u64,
    device: &Device,
) -> Tensor<2> {
    let mut rng = CounterRng::new(seed, stream);
    let mut value = || {
        // Box and Muller (1958).
        let (u, v) = (rng.uniform().max(1e-7), rng.uniform());
        let radius = (-2.0 * f64::from(u).ln()).sqrt();
        (std * radius * (std::f64::consts::TAU * f64::from(v)).cos()) as f32
    };
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| value()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Points `[batch, WIDTH]` and their values `[batch, 1]`.
#[derive(Debug, Clone)]
pub(super) struct Points {
    pub(super) inputs: Tensor<2>,
    pub(super) targets: Tensor<2>,
}

/// Endless points of a function that a small perceptron can learn.
#[derive(Debug, Clone)]
pub(super) struct Teacher {
    pub(super) seed: u64,
    pub(super) device: Device,
}

impl BatchSource for Teacher {
    type Batch = Points;

    fn batch(&mut self, index: usize) -> Result<Points, BatchError> {
        let inputs = normal(
            [BATCH, WIDTH],
            1.0,
            self.seed,
            index as u64 + 1000,
            &self.device,
        );
        let weights = normal(
            [WIDTH, 1],
            1.0 / (WIDTH as f64).sqrt(),
            self.seed,
            1,
            &self.device,
        );
        let targets = inputs.clone().matmul(weights).tanh(); // [batch, 1]
        Ok(Points { inputs, targets })
    }
}

impl TrainStep<Points> for Perceptron {
    fn loss(&self, batch: &Points) -> Result<StepLoss, LossError> {
        let errors = self.forward(batch.inputs.clone(), true) - batch.targets.clone();
        let errors = errors
            .cast(self.knobs.dtype)
            .mul_scalar(self.knobs.loss_scale);
        let mean = errors.cast(DType::F32).powi_scalar(2).mean(); // [1]
        Ok(StepLoss::from_mean(mean, BATCH))
    }
}

/// Scores on points that no batch has; with dropout if that was forgotten.
pub(super) struct HeldOut {
    pub(super) points: Points,
    pub(super) drops: bool,
}

impl Evaluator<Perceptron> for HeldOut {
    fn evaluate(&mut self, model: &Perceptron, _step: usize) -> Result<Evaluation, LossError> {
        let found = model.forward(self.points.inputs.clone(), self.drops);
        let errors = found - self.points.targets.clone();
        Ok(Evaluation {
            loss: errors.powi_scalar(2).mean().into_scalar::<f64>(),
            ..Evaluation::default()
        })
    }
}
