//! Choosing the next token from its logits.

use firebox_tensor::random::CounterRng;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;

mod penalties;

/// How the next token is drawn. The default is greedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keep only the `k` most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of tokens whose probability reaches this; 1 keeps all.
    ///
    /// Source: Holtzman et al. (2019), section 3.1, <https://arxiv.org/abs/1904.09751>.
    pub top_p: f32,
    /// Keep tokens at least this likely relative to the most likely one; 0 keeps all.
    ///
    /// Source: Nguyen et al. (2024), section 3, <https://arxiv.org/abs/2407.01082>.
    pub min_p: f32,
    /// Positive logits of tokens seen before are divided by this, negative ones multiplied.
    ///
    /// Source: Keskar et al. (2019), section 4.1, <https://arxiv.org/abs/1909.05858>.
    pub repetition_penalty: f32,
    /// Keep the tokens whose information is closest to what the distribution has on average, until
    /// their probability reaches this; 1 keeps all.
    ///
    /// Source: Meister et al. (2023), section 5, <https://arxiv.org/abs/2202.00666>.
    pub typical_p: f32,
    /// Taken from the logits of tokens generated before.
    ///
    /// Source: <https://platform.openai.com/docs/api-reference/chat/create>.
    pub presence_penalty: f32,
    /// Taken from the logits of tokens generated before, once for each time.
    pub frequency_penalty: f32,
    /// Added to the logits of some ids, before any penalty.
    pub logit_bias: Vec<(u32, f32)>,
    /// The same seed draws the same tokens.
    pub seed: u64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            typical_p: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl SamplingConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ModelError::Sampling`] names the field, its range and what was given.
    pub fn validate(&self) -> Result<(), ModelError> {
        let in_range = [
            (
                "temperature",
                self.temperature,
                self.temperature >= 0.0,
                "a number from 0 up",
            ),
            (
                "top_p",
                self.top_p,
                self.top_p > 0.0 && self.top_p <= 1.0,
                "a number above 0 and at most 1",
            ),
            (
                "min_p",
                self.min_p,
                (0.0..1.0).contains(&self.min_p),
                "a number from 0 to below 1",
            ),
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty > 0.0,
                "a number above 0",
            ),
            (
                "typical_p",
                self.typical_p,
                self.typical_p > 0.0 && self.typical_p <= 1.0,
                "a number above 0 and at most 1",
            ),
            ("presence_penalty", self.presence_penalty, true, "a number"),
            (
                "frequency_penalty",
                self.frequency_penalty,
                true,
                "a number",
            ),
        ];
        for (field, value, ok, expected) in in_range {
            if !ok || !value.is_finite() {
                return Err(ModelError::Sampling {
                    field,
                    expected,
                    found: value.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// Draws tokens; the draw of the `n`-th new token depends on the seed and `n` alone.
#[derive(Debug, Clone)]
pub struct Sampler {
    config: SamplingConfig,
    rng: CounterRng,
}

/// Tokens that top-p sorts at first.
const FIRST_SORTED: usize = 64;

impl Sampler {
    /// # Errors
    /// As [`SamplingConfig::validate`].
    pub fn new(config: SamplingConfig) -> Result<Self, ModelError> {
        config.validate()?;
        Ok(Self {
            rng: CounterRng::new(config.seed, 0),
            config,
        })
    }

    /// The next token for `logits` (one a vocabulary entry), after `tokens`, of which the first
    /// `n_prompt` are the prompt; `None` when no logit is finite.
    pub fn sample(&self, logits: &mut [f32], tokens: &[u32], n_prompt: usize) -> Option<u32> {
        penalties::penalize(&self.config, logits, tokens, n_prompt);
        let best = argmax(logits)?;
        if self.config.temperature == 0.0 {
            return Some(best);
        }
        let mut kept = self.candidates(logits, logits[best as usize]);
        self.cut_top_p(&mut kept);
        self.cut_typical(&mut kept);
        // Sums over a large vocabulary, in f64: what rounding leaves over would fall to the last.
        let total: f64 = kept.iter().map(|(_, p)| f64::from(*p)).sum();
        let n_drawn = (tokens.len() - n_prompt) as u64;
        let mut left = f64::from(self.rng.uniform_at(n_drawn)) * total;
        for &(id, p) in &kept {
            left -= f64::from(p);
            if left < 0.0 {
                return Some(id);
            }
        }
        Some(kept.last().map_or(best, |&(id, _)| id))
    }

    /// Tokens that pass top-k and min-p with their unnormalized probabilities, relative to the most
    /// likely token.
    fn candidates(&self, logits: &[f32], max: f32) -> Vec<(u32, f32)> {
        let relative = |logit: f32| ((logit - max) / self.config.temperature).exp();
        let indexed = logits
            .iter()
            .enumerate()
            .map(|(id, &logit)| (id as u32, relative(logit)));
        let mut kept: Vec<(u32, f32)> = indexed
            .filter(|&(_, p)| p > 0.0 && p >= self.config.min_p)
            .collect();
        if self.config.top_k > 0 && self.config.top_k < kept.len() {
            kept.select_nth_unstable_by(self.config.top_k - 1, by_probability);
            kept.truncate(self.config.top_k);
        }
        kept
    }

    fn cut_top_p(&self, kept: &mut Vec<(u32, f32)>) {
        if self.config.top_p >= 1.0 {
            // The order decides which token a draw meets, so it must not depend on the selection.
            kept.sort_unstable_by_key(|&(id, _)| id);
            return;
        }
        let total: f64 = kept.iter().map(|(_, p)| f64::from(*p)).sum();
        let wanted = f64::from(self.config.top_p) * total;
        // The most likely few are nearly always enough: the rest of the vocabulary stays unsorted.
        let mut n_sorted = FIRST_SORTED.min(kept.len());
        loop {
            if n_sorted < kept.len() {
                kept.select_nth_unstable_by(n_sorted - 1, by_probability);
            }
            kept[..n_sorted].sort_unstable_by(by_probability);
            let mut sum = 0.0;
            let enough = kept[..n_sorted].iter().position(|(_, p)| {
                sum += f64::from(*p);
                sum >= wanted
            });
            if let Some(at) = enough {
                return kept.truncate(at + 1);
            }
            if n_sorted == kept.len() {
                return;
            }
            n_sorted = (n_sorted * 8).min(kept.len());
        }
    }

    /// Sorts by how far a token's information is from the entropy, and cuts.
    fn cut_typical(&self, kept: &mut Vec<(u32, f32)>) {
        if self.config.typical_p >= 1.0 {
            return;
        }
        let total: f64 = kept.iter().map(|(_, p)| f64::from(*p)).sum();
        let information = |p: f32| -(f64::from(p) / total).ln();
        let weighted = kept
            .iter()
            .map(|&(_, p)| f64::from(p) / total * information(p));
        let entropy: f64 = weighted.sum();
        let distance = |p: f32| (information(p) - entropy).abs();
        kept.sort_unstable_by(|a, b| distance(a.1).total_cmp(&distance(b.1)).then(a.0.cmp(&b.0)));
        let mut sum = 0.0;
        let enough = kept.iter().position(|(_, p)| {
            sum += f64::from(*p);
            sum >= f64::from(self.config.typical_p) * total
        });
        kept.truncate(enough.map_or(kept.len(), |at| at + 1));
    }
}

fn by_probability(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The first of the largest finite logits.
pub(crate) fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best: Option<usize> = None;
    for (id, logit) in logits.iter().enumerate() {
        if logit.is_finite() && best.is_none_or(|best| *logit > logits[best]) {
            best = Some(id);
        }
    }
    best.map(|id| id as u32)
}

#[cfg(test)]
mod tests;
