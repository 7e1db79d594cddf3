//! The `rope_scaling` of a `config.json`, from metadata or from Llama 3's frequency factors, and back.

use std::f64::consts::TAU;

use serde_json::{Value, json};

use super::{meta::Meta, names::Architecture};
use crate::error::ModelError;

/// Wider heads are no decoder's: a config may claim any width.
const MAX_HEAD_DIM: usize = 1 << 16;

/// The tensor of Llama 3's factors.
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";

pub(super) fn rope_scaling(
    meta: &Meta<'_>,
    architecture: Architecture,
    rope_base: f64,
    head_dim: usize,
    rope_freqs: Option<&[f32]>,
) -> Result<Value, ModelError> {
    let key = |suffix: &str| format!("{}.rope.scaling.{suffix}", architecture.name());
    if let Some(factors) = rope_freqs {
        // The length is compared before anything of it is made: `head_dim` is only a claim.
        let fit = (factors.len() == head_dim / 2)
            .then(|| Llama3Scaling::fit(factors, &wavelengths(rope_base, head_dim)));
        return fit.flatten().map(Llama3Scaling::to_json).ok_or_else(|| {
            let expected = format!("{} factors of Llama 3's formula", head_dim / 2);
            meta.bad(
                ROPE_FREQS,
                expected,
                format!("{} that fit none", factors.len()),
            )
        });
    }
    let factor = |key: &str| meta.f64(key)?.ok_or_else(|| meta.missing(key));
    match meta.str(&key("type"))? {
        None | Some("none") => Ok(Value::Null),
        Some("linear") => Ok(json!({"rope_type": "linear", "factor": factor(&key("factor"))?})),
        Some("yarn") => Ok(json!({
            "rope_type": "yarn",
            "factor": factor(&key("factor"))?,
            "original_max_position_embeddings": meta.size(&key("original_context_length"))?,
        })),
        Some(other) => {
            let found = format!("`{}`", crate::error::tame(other));
            Err(meta.bad(&key("type"), "`none`, `linear` or `yarn`", found))
        }
    }
}

/// Positions per turn of each rotated pair, the fastest first.
fn wavelengths(rope_base: f64, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2)
        .map(|pair| TAU * rope_base.powf(2.0 * pair as f64 / head_dim as f64))
        .collect()
}

/// Llama 3's scaling: long waves are stretched by `factor`, short ones not, those between smoothly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Llama3Scaling {
    factor: f64,
    high_freq_factor: f64,
    original_context: f64,
}

impl Llama3Scaling {
    /// `low_freq_factor`. Only its ratios to the other two matter, and 1 is what Llama 3 has.
    const LOW: f64 = 1.0;

    /// `None` unless `low < high`.
    pub(super) fn new(factor: f64, [low, high]: [f64; 2], original_context: f64) -> Option<Self> {
        (low < high).then_some(Self {
            factor,
            high_freq_factor: high / low,
            original_context: original_context / low,
        })
    }

    /// The divisors, where they tell what they come from, as whoever reads them must find out.
    pub(super) fn told_divisors(&self, rope_base: f64, head_dim: usize) -> Option<Vec<f32>> {
        if head_dim > MAX_HEAD_DIM {
            return None;
        }
        let divisors = self.divisors(rope_base, head_dim);
        let found = Self::fit(&divisors, &wavelengths(rope_base, head_dim));
        found.map(|_| divisors)
    }

    /// What the frequency of each rotated pair is divided by, the fastest first.
    fn divisors(&self, rope_base: f64, head_dim: usize) -> Vec<f32> {
        let waves = wavelengths(rope_base, head_dim).into_iter();
        waves.map(|wave| self.divisor(wave) as f32).collect()
    }

    /// What a wave's frequency is divided by.
    ///
    /// `1 / ((1 - s) / factor + s)` with `s = (context / wave - low) / (high - low)` between 0 and 1.
    fn divisor(&self, wave: f64) -> f64 {
        let smooth =
            (self.original_context / wave - Self::LOW) / (self.high_freq_factor - Self::LOW);
        let smooth = smooth.clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / self.factor + smooth)
    }

    /// The parameters that give these divisors, if any do within 1e-4.
    fn fit(divisors: &[f32], waves: &[f64]) -> Option<Self> {
        if !divisors.iter().all(|d| d.is_finite() && *d >= 1.0) {
            return None;
        }
        let factor = divisors.iter().copied().fold(1.0, f32::max).into();
        // `s` is a line over 1/wave; its first and last points between the ends give it.
        let between: Vec<(f64, f64)> = divisors
            .iter()
            .zip(waves)
            .map(|(divisor, wave)| (1.0 / wave, f64::from(*divisor).recip()))
            .filter(|(_, y)| *y < 0.9999 && *y > 1.0001 / factor)
            .map(|(x, y)| (x, (y - 1.0 / factor) / (1.0 - 1.0 / factor)))
            .collect();
        let ((x0, s0), (x1, s1)) = (*between.first()?, *between.last()?);
        let slope = (s1 - s0) / (x1 - x0);
        let at_zero = s0 - slope * x0; // = -low / (high - low)
        let width = -Self::LOW / at_zero;
        let found = Self {
            factor,
            high_freq_factor: Self::LOW + width,
            original_context: (slope * width).round(),
        };
        let rounded = Self {
            factor: near_whole(found.factor),
            high_freq_factor: near_whole(found.high_freq_factor),
            ..found
        };
        let fits = |fit: &Self| {
            let mut pairs = waves.iter().zip(divisors);
            fit.original_context >= 1.0
                && pairs.all(|(wave, divisor)| {
                    (fit.divisor(*wave) / f64::from(*divisor) - 1.0).abs() < 1e-4
                })
        };
        [rounded, found].into_iter().find(fits)
    }

    fn to_json(self) -> Value {
        json!({
            "rope_type": "llama3",
            "factor": self.factor,
            "low_freq_factor": Self::LOW,
            "high_freq_factor": self.high_freq_factor,
            "original_max_position_embeddings": self.original_context as u64,
        })
    }
}

/// The nearest whole number, where rounding in the file's `f32` explains the difference.
fn near_whole(x: f64) -> f64 {
    if (x - x.round()).abs() < 1e-3 * x.abs() {
        x.round()
    } else {
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rope_base: f64, head_dim: usize, scaling: Llama3Scaling) {
        let waves = wavelengths(rope_base, head_dim);
        let divisors = scaling.divisors(rope_base, head_dim);
        assert_eq!(Llama3Scaling::fit(&divisors, &waves), Some(scaling));
    }

    #[test]
    fn parameters_come_back_from_their_factors() {
        let llama_3_1 = Llama3Scaling {
            factor: 8.0,
            high_freq_factor: 4.0,
            original_context: 8192.0,
        };
        check(500_000.0, 128, llama_3_1);
        check(
            500_000.0,
            64,
            Llama3Scaling {
                factor: 32.0,
                ..llama_3_1
            },
        );
    }

    #[test]
    fn other_factors_are_not_fitted() {
        let waves = wavelengths(10_000.0, 64);
        for divisors in [
            vec![1.0; 32],
            vec![2.0; 32],
            vec![f32::NAN; 32],
            vec![1.0; 31],
            vec![],
        ] {
            assert_eq!(Llama3Scaling::fit(&divisors, &waves), None);
        }
        let arbitrary: Vec<f32> = (0..32).map(|i| 1.0 + (i * i) as f32).collect();
        assert_eq!(Llama3Scaling::fit(&arbitrary, &waves), None);
    }
}
