//! AdamW: Adam with weight decay that does not pass through the moments.

use crate::{
    host::{CHUNK_LEN, HostElements},
    optimizer::{Optimizer, ParamUpdate},
    optimizer_state::{ParamState, StateError},
};
use burn::{
    module::ParamId,
    tensor::{DType, Device, Tensor},
};
use firebox_tensor::kernels::{AdamWFactors, adamw_step};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The names of the moments in a checkpoint.
const FIRST: &str = "first_moment";
const SECOND: &str = "second_moment";

/// Settings of [`AdamW`]; the defaults are PyTorch's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the running mean of gradients, in `[0, 1)`. 0.9 in the Adam paper.
    pub beta_1: f64,
    /// Decay of the running mean of squared gradients, in `[0, 1)`. 0.999 in the Adam paper.
    pub beta_2: f64,
    /// Added to the denominator; in units of the gradient. 1e-8 in the Adam paper.
    pub eps: f64,
    /// Share of the value, times the learning rate, that every step takes away. 0.01 in PyTorch.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
        }
    }
}

impl AdamWConfig {
    /// An optimizer without any state yet.
    pub fn init(&self) -> AdamW {
        AdamW {
            config: self.clone(),
            moments: HashMap::new(),
        }
    }
}

/// AdamW, as PyTorch defines it, in f32.
///
/// ```text
/// p = p * (1 - lr * weight_decay)
/// m = m + (1 - beta_1) * (g - m)
/// v = beta_2 * v + (1 - beta_2) * g^2
/// p = p - lr / (1 - beta_1^t) * m / (sqrt(v) / sqrt(1 - beta_2^t) + eps)
/// ```
///
/// with `t` counting the updates of that parameter, from 1. On the CPU all four lines are one pass
/// over the elements, in place; so they are on a GPU, in one kernel; elsewhere they are ordinary
/// tensor operations.
///
/// Source: Loshchilov and Hutter (2019), algorithm 2, <https://arxiv.org/abs/1711.05101>;
/// PyTorch's `_single_tensor_adamw` for the order of operations.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    moments: HashMap<ParamId, Moments>,
}

/// Running means of one parameter, each `[n_elements]`.
#[derive(Debug)]
struct Moments {
    n_updates: i32,
    first: Tensor<1>,
    second: Tensor<1>,
}

/// The factors of one update, computed in f64 as PyTorch does and rounded once.
fn factors(config: &AdamWConfig, n_updates: i32, param: &ParamUpdate<'_>) -> AdamWFactors {
    let learning_rate = param.learning_rate;
    let decay = param.weight_decay.unwrap_or(config.weight_decay);
    let bias_correction_1 = 1.0 - config.beta_1.powi(n_updates);
    let bias_correction_2 = 1.0 - config.beta_2.powi(n_updates);
    AdamWFactors {
        keep: (1.0 - learning_rate * decay) as f32,
        lerp_first: (1.0 - config.beta_1) as f32,
        beta_2: config.beta_2 as f32,
        one_minus_beta_2: (1.0 - config.beta_2) as f32,
        sqrt_bias_correction_2: bias_correction_2.sqrt() as f32,
        eps: config.eps as f32,
        step_size: (learning_rate / bias_correction_1) as f32,
    }
}

impl Optimizer for AdamW {
    fn update(
        &mut self,
        param: &ParamUpdate<'_>,
        value: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let moments = self.moments.remove(&param.id).unwrap_or_else(|| {
            let zeros = || Tensor::zeros(value.shape(), (&value.device(), DType::F32));
            Moments {
                n_updates: 0,
                first: zeros(),
                second: zeros(),
            }
        });
        let n_updates = moments.n_updates + 1;
        let factors = factors(&self.config, n_updates, param);
        let tensors = [value, gradient, moments.first, moments.second];
        let [value, first, second] = match HostElements::take(tensors) {
            Ok(elements) => update_in_place(factors, elements),
            Err(tensors) => adamw_step(tensors, factors),
        };
        let moments = Moments {
            n_updates,
            first,
            second,
        };
        self.moments.insert(param.id, moments);
        value
    }

    fn state(&self, id: ParamId) -> Option<ParamState> {
        let moments = self.moments.get(&id)?;
        let tensors = [(FIRST, &moments.first), (SECOND, &moments.second)];
        Some(ParamState::of_tensors(moments.n_updates as u64, &tensors))
    }

    fn restore(
        &mut self,
        id: ParamId,
        state: ParamState,
        device: &Device,
    ) -> Result<(), StateError> {
        let n_updates = i32::try_from(state.n_updates).unwrap_or(i32::MAX);
        let [first, second] = state.into_tensors([FIRST, SECOND], device)?;
        let moments = Moments {
            n_updates,
            first,
            second,
        };
        self.moments.insert(id, moments);
        Ok(())
    }
}

/// One pass over value, gradient and moments, in parallel over fixed chunks.
fn update_in_place(
    factors: AdamWFactors,
    [mut value, gradient, mut first, mut second]: [HostElements; 4],
) -> [Tensor<1>; 3] {
    value
        .as_mut_slice()
        .par_chunks_mut(CHUNK_LEN)
        .zip(gradient.as_slice().par_chunks(CHUNK_LEN))
        .zip(first.as_mut_slice().par_chunks_mut(CHUNK_LEN))
        .zip(second.as_mut_slice().par_chunks_mut(CHUNK_LEN))
        .for_each(|(((values, gradients), firsts), seconds)| {
            let moments = firsts.iter_mut().zip(seconds);
            for ((p, g), (m, v)) in values.iter_mut().zip(gradients).zip(moments) {
                *m += factors.lerp_first * (g - *m);
                *v = factors.beta_2 * *v + factors.one_minus_beta_2 * (g * g);
                let denominator = v.sqrt() / factors.sqrt_bias_correction_2 + factors.eps;
                *p = *p * factors.keep - factors.step_size * *m / denominator;
            }
        });
    [
        value.into_tensor(),
        first.into_tensor(),
        second.into_tensor(),
    ]
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    #[test]
    fn one_pass_over_slices_equals_the_tensor_operations() {
        let device = Device::flex();
        // Longer than a chunk, and not a multiple of it.
        let len = CHUNK_LEN + 77;
        let random = |distribution| Tensor::<1>::random([len], distribution, &device);
        let tensors = [
            random(Distribution::Normal(0.0, 1.0)),
            random(Distribution::Normal(0.0, 0.1)),
            random(Distribution::Normal(0.0, 0.1)),
            random(Distribution::Uniform(0.0, 0.1)),
        ];
        let param = ParamUpdate {
            id: ParamId::new(),
            shape: &[len],
            learning_rate: 1e-3,
            weight_decay: None,
        };
        let factors = factors(&AdamWConfig::default(), 3, &param);
        let expected = adamw_step(tensors.clone(), factors);
        let found = update_in_place(factors, HostElements::take(tensors).unwrap());
        for (expected, found) in expected.into_iter().zip(found) {
            // Same operations in the same order on f32; one unit in the last place for a
            // multiply-add that a kernel may fuse.
            let worst: f32 = (expected - found).abs().max().into_scalar();
            assert!(worst <= 2.4e-7, "worst difference {worst}");
        }
    }
}
