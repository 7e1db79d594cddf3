//! What a run shows of itself besides losses: what the detectors of [`crate::diagnose`] go by.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::observer::ParamSignal;

/// Known before the first step. Fields that a caller does not know stay empty, and the detectors
/// that need them are silent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setup {
    /// In what matrices are multiplied: `f32`, `bf16` or `f16`.
    pub precision: Option<String>,
    /// Whether the loss is scaled for the backward pass.
    pub scales_loss: bool,
    /// Whether the model has learned something before.
    pub is_pretrained: bool,
    /// Rows of the model's embedding.
    pub vocab_size: Option<usize>,
    /// Tokens that the tokenizer may give.
    pub tokenizer_vocab_size: Option<usize>,
    /// Whether an adapter was asked for.
    pub wants_adapter: bool,
    /// Trainable parameters of adapters. The trainer fills this in.
    pub n_adapter_params: usize,
    /// Whether the data are conversations, in which only the answers are to be learned.
    pub has_prompts: bool,
    /// Held-out rows that are among the training rows, word for word.
    pub n_shared_rows: Option<usize>,
    /// Bytes that the run will take, by the memory plan.
    pub planned_bytes: Option<u64>,
    /// Bytes that it may take.
    pub memory_limit_bytes: Option<u64>,
}

/// What one step shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepSignals {
    /// The weights with the smallest and the largest gradient, by root mean square over their
    /// elements; weights without any gradient are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradients: Option<GradientRange>,
    /// The weight with the largest share of gradients that are exactly zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zeros: Option<NamedShare>,
    /// The share of all weights' gradients that are exactly zero, from 0 to 1.
    pub zero_share: f64,
    /// `|change| / |value|` of one weight in this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_ratio: Option<f64>,
    /// What the step's batches are made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchSignals>,
    /// How the batch's tokens resemble those of the batch before, and of one eight steps before,
    /// from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<[f64; 2]>,
    /// How far the model's outputs move with tokens that they must not see; at the first step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaks: Option<Leaks>,
}

/// Two weights and the root mean squares of their gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientRange {
    /// The smallest.
    pub least: NamedShare,
    /// The largest.
    pub most: NamedShare,
}

/// A figure of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedShare {
    /// The parameter.
    pub path: Arc<str>,
    /// Its figure.
    pub value: f64,
}

/// Counts over the tokens of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchSignals {
    /// Sequences.
    pub n_rows: usize,
    /// Tokens that are not padding.
    pub n_tokens: usize,
    /// Tokens that the loss is taken on, by the labels.
    pub n_labels: usize,
    /// Labels that equal the token at their own place: where they belong.
    pub n_labels_own: usize,
    /// Labels that equal the token after.
    pub n_labels_next: usize,
    /// Labels in the padding.
    pub n_padding_labels: usize,
    /// A hash of all tokens.
    pub fingerprint: u64,
    /// How many tokens fall into each of a few bins, for comparing batches.
    #[serde(skip)]
    pub histogram: Vec<u32>,
}

/// How far outputs move with what they must not see; 0 where they do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Leaks {
    /// With a later token.
    pub future: f64,
    /// With the padding.
    pub padding: f64,
}

/// Bins of [`BatchSignals::histogram`].
const N_BINS: usize = 64;

impl BatchSignals {
    /// Counts rows of ids and labels `[batch, seq]`, `lengths` of which are not padding. `ignore`
    /// marks tokens without loss. The first token of a row is never predicted.
    pub fn count(
        input_ids: &[Vec<u32>],
        labels: &[Vec<i64>],
        lengths: &[usize],
        ignore: i64,
    ) -> Self {
        let mut signals = Self {
            n_rows: input_ids.len(),
            histogram: vec![0; N_BINS],
            fingerprint: 0xcbf2_9ce4_8422_2325,
            ..Self::default()
        };
        for ((ids, labels), length) in input_ids.iter().zip(labels).zip(lengths) {
            signals.n_tokens += length;
            for (at, id) in ids.iter().enumerate() {
                signals.fingerprint =
                    (signals.fingerprint ^ u64::from(*id)).wrapping_mul(0x100_0000_01b3);
                if at < *length {
                    // Neighbouring ids are rarely neighbours in meaning: they are spread out.
                    let bin = (u64::from(*id).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize;
                    signals.histogram[bin % N_BINS] += 1;
                }
            }
            for (at, label) in labels.iter().enumerate().skip(1) {
                if *label == ignore {
                    continue;
                }
                let is = |id: Option<&u32>| id.is_some_and(|id| i64::from(*id) == *label);
                signals.n_labels += 1;
                signals.n_labels_own += usize::from(is(ids.get(at)));
                signals.n_labels_next += usize::from(is(ids.get(at + 1)));
                signals.n_padding_labels += usize::from(at >= *length);
            }
        }
        signals
    }

    /// Takes in one more batch of a step.
    pub(crate) fn gather(step: &mut Option<Self>, batch: Option<Self>) {
        match (step, batch) {
            (Some(step), Some(batch)) => step.add(batch),
            (step @ None, batch) => *step = batch,
            (Some(_), None) => {}
        }
    }

    /// Of two batches together.
    fn add(&mut self, other: Self) {
        self.n_rows += other.n_rows;
        self.n_tokens += other.n_tokens;
        self.n_labels += other.n_labels;
        self.n_labels_own += other.n_labels_own;
        self.n_labels_next += other.n_labels_next;
        self.n_padding_labels += other.n_padding_labels;
        self.fingerprint = self.fingerprint.rotate_left(1) ^ other.fingerprint;
        for (bin, more) in self.histogram.iter_mut().zip(other.histogram) {
            *bin += more;
        }
    }
}

/// The cosine of two histograms.
pub(crate) fn similarity(a: &[u32], b: &[u32]) -> f64 {
    let dot = |a: &[u32], b: &[u32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    let norm = (dot(a, a) * dot(b, b)).sqrt();
    if norm == 0.0 { 0.0 } else { dot(a, b) / norm }
}

impl StepSignals {
    /// The gradients' part. Only weights count: parameters of two axes and more that are no
    /// embedding, whose unseen rows have no gradient in any healthy run.
    pub(crate) fn of_gradients(params: &[ParamSignal]) -> Self {
        let is_weight = |param: &&ParamSignal| param.n_axes >= 2 && !param.path.contains("embed");
        let weights: Vec<&ParamSignal> = params.iter().filter(is_weight).collect();
        let named = |param: &ParamSignal, value: f64| NamedShare {
            path: Arc::clone(&param.path),
            value,
        };
        let mut by_size: Vec<NamedShare> = weights
            .iter()
            .filter(|param| param.zero_share < 1.0)
            .map(|param| named(param, param.grad_norm / (param.n_elements as f64).sqrt()))
            .collect();
        by_size.sort_by(|a, b| a.value.total_cmp(&b.value));
        let gradients = match (by_size.first(), by_size.last()) {
            (Some(least), Some(most)) => Some(GradientRange {
                least: least.clone(),
                most: most.clone(),
            }),
            _ => None,
        };
        let zeros = weights
            .iter()
            .max_by(|a, b| a.zero_share.total_cmp(&b.zero_share))
            .map(|param| named(param, param.zero_share));
        let n_elements: usize = weights.iter().map(|param| param.n_elements).sum();
        let n_zeros: f64 = weights
            .iter()
            .map(|param| param.zero_share * param.n_elements as f64)
            .sum();
        Self {
            gradients,
            zeros,
            zero_share: n_zeros / (n_elements.max(1) as f64),
            ..Self::default()
        }
    }
}

/// How many of the held-out rows are among the training rows, word for word: rows are ids, or texts.
pub fn shared_rows<T: std::hash::Hash + Eq>(training: &[T], held_out: &[T]) -> usize {
    let training: std::collections::HashSet<&T> = training.iter().collect();
    held_out.iter().filter(|row| training.contains(row)).count()
}
