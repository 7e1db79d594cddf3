//! Stochastic gradient descent with momentum.

use crate::{
    host::{CHUNK_LEN, HostElements},
    optimizer::{Optimizer, ParamUpdate},
    optimizer_state::{ParamState, StateError},
};
use burn::{
    module::ParamId,
    tensor::{Device, Tensor},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The name of the running sum in a checkpoint.
const VELOCITY: &str = "velocity";

/// Settings of [`Sgd`]; the defaults are PyTorch's: no momentum, no decay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// Decay of the running sum of gradients, in `[0, 1)`; 0 keeps no state.
    pub momentum: f64,
    /// Share of the value that is added to the gradient (L2 penalty, not decoupled).
    pub weight_decay: f64,
}

impl SgdConfig {
    /// An optimizer without any state yet.
    pub fn init(&self) -> Sgd {
        Sgd {
            config: self.clone(),
            velocities: HashMap::new(),
        }
    }
}

/// Gradient descent as PyTorch defines it, with dampening 0 and without Nesterov's look-ahead.
///
/// ```text
/// g = g + weight_decay * p
/// b = momentum * b + g          (b = g at the first update)
/// p = p - lr * b
/// ```
///
/// Source: Sutskever, Martens, Dahl and Hinton (2013), section 2, in the form that
/// `torch.optim.SGD` documents.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    /// Running sums by parameter, `[n_elements]`; empty without momentum.
    velocities: HashMap<ParamId, Tensor<1>>,
}

impl Optimizer for Sgd {
    fn update(
        &mut self,
        param: &ParamUpdate<'_>,
        value: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let learning_rate = param.learning_rate;
        let decay = param.weight_decay.unwrap_or(self.config.weight_decay);
        let (gradient, value) = add_scaled(gradient, value, decay);
        if self.config.momentum == 0.0 {
            return add_scaled(value, gradient, -learning_rate).0;
        }
        let velocity = match self.velocities.remove(&param.id) {
            // Into the fresh gradient's buffer; the old velocity is dropped.
            Some(velocity) => add_scaled(gradient, velocity, self.config.momentum).0,
            None => gradient,
        };
        let (value, velocity) = add_scaled(value, velocity, -learning_rate);
        self.velocities.insert(param.id, velocity);
        value
    }

    fn state(&self, id: ParamId) -> Option<ParamState> {
        let velocity = self.velocities.get(&id)?;
        Some(ParamState::of_tensors(0, &[(VELOCITY, velocity)]))
    }

    fn restore(
        &mut self,
        id: ParamId,
        state: ParamState,
        device: &Device,
    ) -> Result<(), StateError> {
        let [velocity] = state.into_tensors([VELOCITY], device)?;
        self.velocities.insert(id, velocity);
        Ok(())
    }
}

/// `base + factor * addend`, in place in `base` where its buffer is not shared; and `addend`.
fn add_scaled(base: Tensor<1>, addend: Tensor<1>, factor: f64) -> (Tensor<1>, Tensor<1>) {
    if factor == 0.0 {
        return (base, addend);
    }
    let factor = factor as f32;
    match HostElements::take([base, addend]) {
        Ok([mut base, addend]) => {
            base.as_mut_slice()
                .par_chunks_mut(CHUNK_LEN)
                .zip(addend.as_slice().par_chunks(CHUNK_LEN))
                .for_each(|(bases, addends)| {
                    for (base, addend) in bases.iter_mut().zip(addends) {
                        *base += factor * addend;
                    }
                });
            (base.into_tensor(), addend.into_tensor())
        }
        Err([base, addend]) => (base + addend.clone().mul_scalar(factor), addend),
    }
}
