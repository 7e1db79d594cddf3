//! Scales that move difficulty between weights and what they are multiplied with, before anything is
//! rounded.

use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::Checkpoint;
use firebox_model::{LayerVisitor, Linear, Producer, host_f32};
use firebox_tensor::kernels::unpacked;
use firebox_tensor::packed::{PackedFormat, PackedMatrix};
use serde::{Deserialize, Serialize};

use crate::config::QuantConfig;
use crate::error::QuantError;
use crate::hessian::Hessian;

/// Exponents that are tried: 0 to 0.95.
const N_EXPONENTS: usize = 20;
/// Inputs smaller than this part of the largest count as that large.
const LEAST: f32 = 1e-4;

/// How columns are scaled. What a weight's column is multiplied by, its inputs are divided by where they
/// come from: in the gains of a norm, or in the rows of a weight. The model computes the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// Columns with large inputs grow, so that rounding hurts them less: `s = rms(x)^α`, with the `α` of
    /// least output error for the weights that share the inputs.
    ///
    /// Source: Lin et al. (2023), equations 4 and 5, <https://arxiv.org/abs/2306.00978>; there with the
    /// mean magnitude.
    Awq,
    /// Inputs become alike, so that they can be rounded to 8 bits: `s = max|x|^α / max|W|^(1 − α)`.
    ///
    /// Source: Xiao et al. (2022), equation 4, <https://arxiv.org/abs/2211.10438>.
    Smooth {
        /// `α`, from 0 to 1: how much of the difficulty goes into the weights.
        strength: f32,
    },
}

/// Scales the columns of each weight when all that it is multiplied with has been seen.
pub(crate) struct Scaler<'a> {
    scaling: Scaling,
    checkpoint: &'a Checkpoint,
    config: &'a QuantConfig,
    device: Device,
    /// Of the rows seen since the last weights.
    hessian: Option<Hessian>,
    /// Largest magnitudes of them, `[in]`.
    largest: Option<Tensor<1>>,
}

impl<'a> Scaler<'a> {
    pub(crate) fn new(
        scaling: Scaling,
        checkpoint: &'a Checkpoint,
        config: &'a QuantConfig,
        device: &Device,
    ) -> Self {
        Self {
            scaling,
            checkpoint,
            config,
            device: device.clone(),
            hessian: None,
            largest: None,
        }
    }
}

impl LayerVisitor for Scaler<'_> {
    type Error = QuantError;

    fn rows(&mut self, x: Tensor<2>) -> Result<(), QuantError> {
        match self.scaling {
            Scaling::Awq => {
                let new = || Hessian::new(x.dims()[1], &self.device);
                self.hessian.get_or_insert_with(new).add(x.clone());
            }
            Scaling::Smooth { .. } => {
                let largest = x.abs().max_dim(0).squeeze_dim::<1>(0);
                self.largest = Some(match self.largest.take() {
                    Some(before) => before.max_pair(largest),
                    None => largest,
                });
            }
        }
        Ok(())
    }

    fn weights(
        &mut self,
        mut producer: Producer<'_>,
        weights: &mut [(String, &mut Linear)],
    ) -> Result<(), QuantError> {
        let index = producer.scale_of_input();
        let scales = match (self.scaling, self.hessian.take(), self.largest.take()) {
            (Scaling::Awq, Some(hessian), _) => self.search(&index, weights, &hessian)?,
            (Scaling::Smooth { strength }, _, Some(largest)) => {
                smooth(strength, &index, weights, largest)
            }
            _ => return Ok(()),
        };
        let columns = self.tensor(of_inputs(&scales, &index));
        for (_, linear) in weights {
            linear.scale_columns(columns.clone());
        }
        producer.divide(self.tensor(scales));
        Ok(())
    }
}

impl Scaler<'_> {
    /// The scales of least output error, one for each of the producer's.
    fn search(
        &self,
        index: &[usize],
        weights: &[(String, &mut Linear)],
        hessian: &Hessian,
    ) -> Result<Vec<f32>, QuantError> {
        let sizes = root_mean_squares(&hessian.mean_squares(), index);
        let targets: Vec<Target> = weights
            .iter()
            .filter_map(|(layer, linear)| self.target(layer, linear))
            .collect();
        let mut best = (f64::INFINITY, vec![1.0; sizes.len()]);
        for i in 0..N_EXPONENTS {
            let scales = powers(&sizes, i as f32 / N_EXPONENTS as f32);
            let columns = self.tensor(of_inputs(&scales, index)).unsqueeze();
            let mut error = 0.0;
            for target in &targets {
                error += target.error(&columns, hessian)?;
            }
            if error < best.0 {
                best = (error, scales);
            }
        }
        Ok(best.1)
    }

    /// A weight, if it is packed.
    fn target(&self, layer: &str, linear: &Linear) -> Option<Target> {
        let name = format!("{layer}.weight");
        let (format, _) = self.config.packs(self.checkpoint, &name)?;
        Some(Target {
            name,
            format,
            weight: linear.weight.to_dense(&self.device),
        })
    }

    fn tensor(&self, values: Vec<f32>) -> Tensor<1> {
        let n = values.len();
        Tensor::from_data(TensorData::new(values, [n]), &self.device)
    }
}

/// A weight whose error is measured.
struct Target {
    name: String,
    format: PackedFormat,
    /// `[out, in]`.
    weight: Tensor<2>,
}

impl Target {
    /// Squared error of the outputs when the columns are scaled, by `[1, in]`, before rounding to the
    /// nearest.
    fn error(&self, columns: &Tensor<2>, hessian: &Hessian) -> Result<f64, QuantError> {
        let [n_rows, n_cols] = self.weight.dims();
        let scaled = host_f32(self.weight.clone() * columns.clone());
        let packed = PackedMatrix::pack(self.format, &scaled, n_rows, n_cols);
        let packed = packed.map_err(QuantError::of_weight(&self.name))?;
        let rounded = unpacked(&packed, &self.weight.device());
        Ok(hessian.squared_outputs(rounded / columns.clone() - self.weight.clone()))
    }
}

/// The scale of each input.
fn of_inputs(scales: &[f32], index: &[usize]) -> Vec<f32> {
    index.iter().map(|i| scales[*i]).collect()
}

fn n_scales(index: &[usize]) -> usize {
    index.iter().max().map_or(0, |last| last + 1)
}

/// Of all the inputs that share a scale.
fn root_mean_squares(mean_squares: &[f32], index: &[usize]) -> Vec<f32> {
    let mut sums = vec![(0.0_f32, 0.0_f32); n_scales(index)];
    for (square, i) in mean_squares.iter().zip(index) {
        sums[*i] = (sums[*i].0 + square, sums[*i].1 + 1.0);
    }
    sums.into_iter().map(|(sum, n)| (sum / n).sqrt()).collect()
}

/// `sizes^exponent`, so that the largest is as far above 1 as the least is below.
fn powers(sizes: &[f32], exponent: f32) -> Vec<f32> {
    let largest = sizes.iter().fold(0.0_f32, |a, b| a.max(*b));
    if largest <= 0.0 {
        return vec![1.0; sizes.len()];
    }
    let power = |size: &f32| (size / largest).max(LEAST).powf(exponent);
    let powers: Vec<f32> = sizes.iter().map(power).collect();
    let least = powers.iter().fold(1.0_f32, |a, b| a.min(*b));
    powers.iter().map(|power| power / least.sqrt()).collect()
}

/// The scales of SmoothQuant, one for each of the producer's.
fn smooth(
    strength: f32,
    index: &[usize],
    weights: &[(String, &mut Linear)],
    largest: Tensor<1>,
) -> Vec<f32> {
    let device = largest.device();
    let of_weights = weights
        .iter()
        .map(|(_, linear)| {
            linear
                .weight
                .to_dense(&device)
                .abs()
                .max_dim(0)
                .squeeze_dim::<1>(0)
        })
        .reduce(Tensor::max_pair)
        .expect("at least one weight");
    let most = |values: Tensor<1>| {
        let mut most = vec![0.0_f32; n_scales(index)];
        for (value, i) in host_f32(values).iter().zip(index) {
            most[*i] = most[*i].max(*value);
        }
        let largest = most.iter().fold(f32::MIN_POSITIVE, |a, b| a.max(*b));
        most.iter_mut().for_each(|x| *x = x.max(LEAST * largest));
        most
    };
    let (of_inputs, of_weights) = (most(largest), most(of_weights));
    of_inputs
        .iter()
        .zip(of_weights)
        .map(|(x, w)| x.powf(strength) / w.powf(1.0 - strength))
        .collect()
}

#[cfg(test)]
mod tests;
