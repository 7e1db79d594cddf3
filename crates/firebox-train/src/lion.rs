//! Lion: steps of one size, along the sign of a running mean.

use std::collections::HashMap;

use burn::{
    module::ParamId,
    tensor::{DType, Device, Tensor},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    host::{CHUNK_LEN, HostElements},
    optimizer::{Optimizer, ParamUpdate},
    optimizer_state::{ParamState, StateError},
};

/// The name of the running mean in a checkpoint.
const MOMENT: &str = "moment";

/// Settings of [`Lion`]; the defaults are the paper's. Its rate is three to ten times below AdamW's,
/// its decay three to ten times above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LionConfig {
    /// Weight of the running mean in the direction of a step, in `[0, 1)`. 0.9 in the paper.
    pub beta_1: f64,
    /// Decay of the running mean, in `[0, 1)`. 0.99 in the paper.
    pub beta_2: f64,
    /// Share of the value, times the learning rate, that every step takes away.
    pub weight_decay: f64,
}

impl Default for LionConfig {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.99,
            weight_decay: 0.0,
        }
    }
}

impl LionConfig {
    /// An optimizer without any state yet.
    pub fn init(&self) -> Lion {
        Lion {
            config: self.clone(),
            moments: HashMap::new(),
        }
    }
}

/// Lion, in f32, with one running mean a parameter: half of AdamW's memory.
///
/// ```text
/// p = p * (1 - lr * weight_decay) - lr * sign(beta_1 * m + (1 - beta_1) * g)
/// m = beta_2 * m + (1 - beta_2) * g
/// ```
///
/// Source: Chen et al. (2023), algorithm 2, <https://arxiv.org/abs/2302.06675>.
#[derive(Debug)]
pub struct Lion {
    config: LionConfig,
    /// By parameter, `[n_elements]`.
    moments: HashMap<ParamId, Tensor<1>>,
}

/// The factors of one update, rounded to f32 once.
#[derive(Debug, Clone, Copy)]
struct Factors {
    beta_1: f32,
    one_minus_beta_1: f32,
    beta_2: f32,
    one_minus_beta_2: f32,
    keep: f32,
    learning_rate: f32,
}

impl Optimizer for Lion {
    fn update(
        &mut self,
        param: &ParamUpdate<'_>,
        value: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let decay = param.weight_decay.unwrap_or(self.config.weight_decay);
        let factors = Factors {
            beta_1: self.config.beta_1 as f32,
            one_minus_beta_1: (1.0 - self.config.beta_1) as f32,
            beta_2: self.config.beta_2 as f32,
            one_minus_beta_2: (1.0 - self.config.beta_2) as f32,
            keep: (1.0 - param.learning_rate * decay) as f32,
            learning_rate: param.learning_rate as f32,
        };
        let moment = self
            .moments
            .remove(&param.id)
            .unwrap_or_else(|| Tensor::zeros(value.shape(), (&value.device(), DType::F32)));
        let [value, moment] = match HostElements::take([value, gradient, moment]) {
            Ok(elements) => update_in_place(factors, elements),
            Err([value, gradient, moment]) => {
                let direction = moment.clone().mul_scalar(factors.beta_1)
                    + gradient.clone().mul_scalar(factors.one_minus_beta_1);
                let step = direction.sign().mul_scalar(factors.learning_rate);
                let moment = moment.mul_scalar(factors.beta_2)
                    + gradient.mul_scalar(factors.one_minus_beta_2);
                [value.mul_scalar(factors.keep) - step, moment]
            }
        };
        self.moments.insert(param.id, moment);
        value
    }

    fn state(&self, id: ParamId) -> Option<ParamState> {
        let moment = self.moments.get(&id)?;
        Some(ParamState::of_tensors(0, &[(MOMENT, moment)]))
    }

    fn restore(
        &mut self,
        id: ParamId,
        state: ParamState,
        device: &Device,
    ) -> Result<(), StateError> {
        let [moment] = state.into_tensors([MOMENT], device)?;
        self.moments.insert(id, moment);
        Ok(())
    }
}

/// One pass over value, gradient and running mean, in parallel over fixed chunks.
fn update_in_place(
    factors: Factors,
    [mut value, gradient, mut moment]: [HostElements; 3],
) -> [Tensor<1>; 2] {
    value
        .as_mut_slice()
        .par_chunks_mut(CHUNK_LEN)
        .zip(gradient.as_slice().par_chunks(CHUNK_LEN))
        .zip(moment.as_mut_slice().par_chunks_mut(CHUNK_LEN))
        .for_each(|((values, gradients), moments)| {
            for ((p, g), m) in values.iter_mut().zip(gradients).zip(moments) {
                let direction = factors.beta_1 * *m + factors.one_minus_beta_1 * g;
                // f32::signum gives 1 for zero.
                let sign = f32::from(direction > 0.0) - f32::from(direction < 0.0);
                *p = *p * factors.keep - factors.learning_rate * sign;
                *m = factors.beta_2 * *m + factors.one_minus_beta_2 * g;
            }
        });
    [value.into_tensor(), moment.into_tensor()]
}
