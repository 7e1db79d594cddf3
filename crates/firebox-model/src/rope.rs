//! Rotary position embeddings: tables of sines and cosines, and the rotation.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ModelError;

/// Llama 3's scaling of the rotary frequencies for contexts longer than the trained one.
///
/// Wavelengths shorter than `original / high_freq_factor` stay, those longer than
/// `original / low_freq_factor` are divided by `factor`, those between are interpolated.
///
/// Source: the Llama 3.1 release; `rope_type: "llama3"` in `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// How much longer the context is.
    pub factor: f64,
    /// See the type's text.
    pub low_freq_factor: f64,
    /// See the type's text.
    pub high_freq_factor: f64,
    /// The context length of the pretraining, in tokens.
    pub original_max_seq_len: usize,
}

impl RopeScaling {
    /// Reads `rope_scaling` (or transformers 5's `rope_parameters`); `None` when there is no scaling.
    pub(crate) fn from_hf(config: &Value) -> Result<Option<Self>, ModelError> {
        let nested = &config["rope_parameters"];
        let scaling = if nested.is_object() {
            nested
        } else {
            &config["rope_scaling"]
        };
        let kind = scaling["rope_type"].as_str().or(scaling["type"].as_str());
        match kind {
            _ if scaling.is_null() => return Ok(None),
            None | Some("default") => return Ok(None),
            Some("llama3") => {}
            Some(other) => {
                return Err(ModelError::Config {
                    field: "rope_scaling",
                    expected: "`rope_type` `llama3` or `default`".into(),
                    found: format!("`{other}`"),
                    hint: "other kinds of scaling are not supported",
                });
            }
        }
        let number = |field: &'static str| {
            scaling[field]
                .as_f64()
                .filter(|x| x.is_finite() && *x > 0.0)
                .ok_or_else(|| ModelError::Config {
                    field,
                    expected: "a positive number inside rope_scaling".into(),
                    found: scaling[field].to_string(),
                    hint: "llama3 scaling needs all four numbers",
                })
        };
        let parsed = Self {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_seq_len: number("original_max_position_embeddings")? as usize,
        };
        if parsed.low_freq_factor >= parsed.high_freq_factor {
            return Err(ModelError::Config {
                field: "low_freq_factor",
                expected: "a number below high_freq_factor".into(),
                found: format!("{} and {}", parsed.low_freq_factor, parsed.high_freq_factor),
                hint: "Llama 3 has 1 and 4",
            });
        }
        Ok(Some(parsed))
    }

    pub(crate) fn to_hf(&self) -> Value {
        json!({
            "rope_type": "llama3",
            "factor": self.factor,
            "low_freq_factor": self.low_freq_factor,
            "high_freq_factor": self.high_freq_factor,
            "original_max_position_embeddings": self.original_max_seq_len,
        })
    }

    fn scale(&self, inv_freq: f64) -> f64 {
        let wavelength = 2.0 * std::f64::consts::PI / inv_freq;
        let original = self.original_max_seq_len as f64;
        if wavelength < original / self.high_freq_factor {
            inv_freq
        } else if wavelength > original / self.low_freq_factor {
            inv_freq / self.factor
        } else {
            let smooth = (original / wavelength - self.low_freq_factor)
                / (self.high_freq_factor - self.low_freq_factor);
            (1.0 - smooth) * inv_freq / self.factor + smooth * inv_freq
        }
    }
}

/// Cosines and sines of a run of positions, each `[seq, head_dim]`.
#[derive(Debug, Clone)]
pub struct RopeTable {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

/// Rotary frequencies `inv_freq[i] = base^(-2i / head_dim)`, for `i < head_dim / 2`.
///
/// Source: Su et al. (2021), equation 15, <https://arxiv.org/abs/2104.09864>.
pub fn inv_freq(base: f64, head_dim: usize, scaling: Option<&RopeScaling>) -> Vec<f64> {
    (0..head_dim / 2)
        .map(|i| base.powf(-2.0 * i as f64 / head_dim as f64))
        .map(|f| scaling.map_or(f, |s| s.scale(f)))
        .collect()
}

impl RopeTable {
    /// The table of `seq` positions from `start` on. The angle is a product in f32, as in
    /// transformers, so that long positions agree to the last bit.
    pub fn new(inv_freq: &[f64], start: usize, seq: usize, device: &Device) -> Self {
        let head_dim = inv_freq.len() * 2;
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        cos.reserve(seq * head_dim);
        sin.reserve(seq * head_dim);
        for position in start..start + seq {
            let angles = inv_freq.iter().map(|f| position as f32 * *f as f32);
            for angle in angles.clone().chain(angles) {
                cos.push(angle.cos());
                sin.push(angle.sin());
            }
        }
        Self {
            cos: Tensor::from_data(TensorData::new(cos, [seq, head_dim]), device),
            sin: Tensor::from_data(TensorData::new(sin, [seq, head_dim]), device),
        }
    }

    /// Turns the pairs `(x[i], x[i + head_dim/2])` of every head by the angle of its position.
    ///
    /// # Shapes
    /// `[batch, heads, seq, head_dim]` in and out.
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, seq, head_dim] = x.dims();
        let half = head_dim / 2;
        let cos = self.cos.clone().reshape([1, 1, seq, head_dim]);
        let sin = self.sin.clone().reshape([1, 1, seq, head_dim]);
        let first = x.clone().narrow(3, 0, half);
        let second = x.clone().narrow(3, half, half);
        let swapped = Tensor::cat(vec![second.neg(), first], 3);
        x * cos + swapped * sin
    }
}

#[cfg(test)]
mod tests;
