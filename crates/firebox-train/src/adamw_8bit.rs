//! AdamW whose moments take one byte each.

use std::collections::HashMap;

use burn::{
    module::ParamId,
    tensor::{Device, Tensor, TensorData},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    adamw::{AdamW, AdamWConfig},
    dynamic_code::{BLOCK_LEN, DynamicCode},
    host::to_floats,
    optimizer::{Optimizer, ParamUpdate},
    optimizer_state::{ParamState, StateError, StateTensor},
};

/// Smaller parameters (norms, biases) keep f32 moments, as in bitsandbytes.
const MIN_ELEMENTS: usize = 4096;
/// Names in a checkpoint.
const NAMES: [&str; 4] = [
    "first_codes",
    "first_absmax",
    "second_codes",
    "second_absmax",
];

/// Settings of [`AdamW8bit`]: AdamW's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AdamW8bitConfig(pub AdamWConfig);

impl AdamW8bitConfig {
    /// An optimizer without any state yet.
    pub fn init(&self) -> AdamW8bit {
        AdamW8bit {
            config: self.0.clone(),
            small: self.0.init(),
            moments: HashMap::new(),
        }
    }
}

/// AdamW with block-wise dynamic 8-bit moments: 2.03 bytes a parameter instead of 8.
///
/// Each block of 256 elements keeps its largest absolute value and a code of one byte per
/// element; an update unpacks a block, makes AdamW's step in f32 and packs it again. The update is
///
/// ```text
/// p = p - lr * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + eps * sqrt(1 - beta_2^t))
/// p = p * (1 - lr * weight_decay)
/// ```
///
/// in bitsandbytes' order. It runs on the host; parameters on other devices are copied there and
/// back.
///
/// Source: Dettmers et al. (2022), section 2, <https://arxiv.org/abs/2110.02861>.
#[derive(Debug)]
pub struct AdamW8bit {
    config: AdamWConfig,
    small: AdamW,
    moments: HashMap<ParamId, Moments>,
}

#[derive(Debug, Clone)]
struct Moments {
    n_updates: u64,
    first: Packed,
    second: Packed,
}

/// Codes, and the largest absolute value of each block.
#[derive(Debug, Clone)]
struct Packed {
    codes: Vec<u8>,
    absmax: Vec<f32>,
}

impl Packed {
    fn zeros(len: usize, code: &DynamicCode) -> Self {
        Self {
            codes: vec![code.zero(); len],
            absmax: vec![0.0; len.div_ceil(BLOCK_LEN)],
        }
    }
}

/// The factors of one update, rounded to f32 once.
#[derive(Debug, Clone, Copy)]
struct Factors {
    beta_1: f32,
    beta_2: f32,
    step_size: f32,
    eps: f32,
    keep: f32,
}

impl AdamW8bit {
    fn factors(&self, param: &ParamUpdate<'_>, n_updates: u64) -> Factors {
        let config = &self.config;
        let step = i32::try_from(n_updates).unwrap_or(i32::MAX);
        let correction_1 = 1.0 - config.beta_1.powi(step);
        let correction_2 = (1.0 - config.beta_2.powi(step)).sqrt();
        let decay = param.weight_decay.unwrap_or(config.weight_decay);
        Factors {
            beta_1: config.beta_1 as f32,
            beta_2: config.beta_2 as f32,
            step_size: (param.learning_rate * correction_2 / correction_1) as f32,
            eps: (config.eps * correction_2) as f32,
            keep: (1.0 - param.learning_rate * decay) as f32,
        }
    }
}

impl Optimizer for AdamW8bit {
    fn update(
        &mut self,
        param: &ParamUpdate<'_>,
        value: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let len = value.dims()[0];
        if len < MIN_ELEMENTS {
            return self.small.update(param, value, gradient);
        }
        let (signed, unsigned) = (DynamicCode::signed(), DynamicCode::unsigned());
        let mut moments = self.moments.remove(&param.id).unwrap_or_else(|| Moments {
            n_updates: 0,
            first: Packed::zeros(len, signed),
            second: Packed::zeros(len, unsigned),
        });
        moments.n_updates += 1;
        let factors = self.factors(param, moments.n_updates);
        let (device, dtype) = (value.device(), value.dtype());
        let mut values = to_floats(value);
        let gradients = to_floats(gradient);
        let (first, second) = (&mut moments.first, &mut moments.second);
        values
            .par_chunks_mut(BLOCK_LEN)
            .zip(gradients.par_chunks(BLOCK_LEN))
            .zip(first.codes.par_chunks_mut(BLOCK_LEN).zip(&mut first.absmax))
            .zip(
                second
                    .codes
                    .par_chunks_mut(BLOCK_LEN)
                    .zip(&mut second.absmax),
            )
            .for_each(|(((values, gradients), first), second)| {
                let moments = [(first, signed), (second, unsigned)];
                update_block(factors, values, gradients, moments);
            });
        self.moments.insert(param.id, moments);
        Tensor::from_data(TensorData::new(values, [len]), (&device, dtype))
    }

    fn state(&self, id: ParamId) -> Option<ParamState> {
        let Some(moments) = self.moments.get(&id) else {
            return self.small.state(id);
        };
        let tensors = [
            StateTensor::U8(moments.first.codes.clone()),
            StateTensor::F32(moments.first.absmax.clone()),
            StateTensor::U8(moments.second.codes.clone()),
            StateTensor::F32(moments.second.absmax.clone()),
        ];
        Some(ParamState {
            n_updates: moments.n_updates,
            tensors: NAMES.map(str::to_owned).into_iter().zip(tensors).collect(),
        })
    }

    fn restore(
        &mut self,
        id: ParamId,
        state: ParamState,
        device: &Device,
    ) -> Result<(), StateError> {
        if !state.tensors.contains_key(NAMES[0]) {
            return self.small.restore(id, state, device);
        }
        let moments = unpack_state(&state)?;
        self.moments.insert(id, moments);
        Ok(())
    }
}

fn unpack_state(state: &ParamState) -> Result<Moments, StateError> {
    let packed =
        |codes: &str, absmax: &str| match (state.tensors.get(codes), state.tensors.get(absmax)) {
            (Some(StateTensor::U8(codes)), Some(StateTensor::F32(absmax)))
                if absmax.len() == codes.len().div_ceil(BLOCK_LEN) =>
            {
                Ok(Packed {
                    codes: codes.clone(),
                    absmax: absmax.clone(),
                })
            }
            _ => Err(StateError {
                expected: format!("u8 codes `{codes}` and an f32 `{absmax}` for each {BLOCK_LEN}"),
                found: state.describe(),
            }),
        };
    Ok(Moments {
        n_updates: state.n_updates,
        first: packed(NAMES[0], NAMES[1])?,
        second: packed(NAMES[2], NAMES[3])?,
    })
}

/// Codes, their block's largest absolute value, and what the codes mean.
type BlockOf<'a> = ((&'a mut [u8], &'a mut f32), &'static DynamicCode);

fn update_block(
    factors: Factors,
    values: &mut [f32],
    gradients: &[f32],
    [
        ((first_codes, first_max), signed),
        ((second_codes, second_max), unsigned),
    ]: [BlockOf<'_>; 2],
) {
    let (mut first, mut second) = ([0.0; BLOCK_LEN], [0.0; BLOCK_LEN]);
    let len = values.len();
    for i in 0..len {
        let g = gradients[i];
        let m = signed.value(first_codes[i]) * *first_max;
        let v = unsigned.value(second_codes[i]) * *second_max;
        first[i] = m * factors.beta_1 + (1.0 - factors.beta_1) * g;
        second[i] = v * factors.beta_2 + (1.0 - factors.beta_2) * g * g;
        let step = factors.step_size * (first[i] / (second[i].sqrt() + factors.eps));
        values[i] = (values[i] - step) * factors.keep;
    }
    *first_max = signed.pack(&first[..len], first_codes);
    *second_max = unsigned.pack(&second[..len], second_codes);
}
