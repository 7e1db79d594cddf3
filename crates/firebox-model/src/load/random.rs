//! Weights before training.

use burn::tensor::{Device, Tensor, TensorData};
use firebox_tensor::random::CounterRng;

use super::WeightSource;
use crate::error::ModelError;
use crate::linear::Linear;

/// Normal values, ones for norms, zeros for biases; see [`crate::LlamaConfig::init`].
pub(super) struct FromSeed<'a> {
    pub(super) seed: u64,
    /// Of the next tensor's random numbers.
    pub(super) stream: u64,
    pub(super) n_layers: usize,
    pub(super) device: &'a Device,
}

impl WeightSource for FromSeed<'_> {
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        _: &'static str,
    ) -> Result<Tensor<D>, ModelError> {
        if name.contains("norm") {
            return Ok(Tensor::ones(shape, self.device));
        }
        if name.ends_with(".bias") {
            return Ok(Tensor::zeros(shape, self.device));
        }
        let into_residual = name.contains("o_proj") || name.contains("down_proj");
        let deviation = if into_residual {
            0.02 / (2.0 * self.n_layers as f32).sqrt()
        } else {
            0.02
        };
        let mut rng = CounterRng::new(self.seed, self.stream);
        self.stream += 1;
        let values = (0..shape.iter().product())
            .map(|_| rng.normal() * deviation)
            .collect::<Vec<f32>>();
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    fn linear(&mut self, name: &str, shape: [usize; 2], bias: bool) -> Result<Linear, ModelError> {
        let weight = self.tensor(&format!("{name}.weight"), shape, "hidden_size")?;
        let bias = match bias {
            true => Some(self.tensor(&format!("{name}.bias"), [shape[0]], "hidden_size")?),
            false => None,
        };
        Ok(Linear::dense(weight, bias))
    }
}
