//! How far a model's predictions are from another's.

use firebox_model::{CausalLm, ModelError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Tokens whose logits are held at once, of both models.
const CHUNK: usize = 64;

/// A model beside a reference, say a quantized one beside the original, on the same texts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DivergenceReport {
    /// Mean negative log-likelihood of a token by the reference, in nats.
    pub reference_nll: f64,
    /// The same by the model.
    pub nll: f64,
    /// Mean Kullback-Leibler divergence of the model's next-token distribution from the reference's,
    /// `Σ p ln(p / q)`, in nats.
    pub kl: f64,
    /// Share of the positions where both expect the same token most.
    pub top1_agreement: f64,
    /// Tokens scored: all but the first of each text.
    pub tokens: usize,
}

/// Compares what two models of one vocabulary expect after each token of each text. Texts are cut at
/// the shorter context. `on_text` is called after each with how many are done.
///
/// # Errors
/// [`ModelError::Empty`] when no text has two tokens, [`ModelError::TokenOutOfRange`].
///
/// # Panics
/// If the vocabularies differ in size.
pub fn divergence(
    reference: &impl CausalLm,
    model: &impl CausalLm,
    texts: &[Vec<u32>],
    mut on_text: impl FnMut(usize),
) -> Result<DivergenceReport, ModelError> {
    let vocab = model.config().vocab_size;
    assert_eq!(
        reference.config().vocab_size,
        vocab,
        "models of one vocabulary"
    );
    let context = reference
        .config()
        .max_seq_len
        .min(model.config().max_seq_len);
    let mut sums = Sums::default();
    for (done, text) in texts.iter().enumerate() {
        let text = &text[..text.len().min(context + 1)];
        let (mut p, mut q) = (reference.logit_reader(), model.logit_reader());
        for (ids, next) in chunks(text) {
            let (p, q) = (p.read(ids)?, q.read(ids)?);
            let rows = p.par_chunks_exact(vocab).zip(q.par_chunks_exact(vocab));
            let scored = rows
                .zip(next)
                .map(|((p, q), target)| Position::new(p, q, *target));
            // Summed in order, whatever the number of threads.
            for position in scored.collect::<Result<Vec<_>, _>>()? {
                sums.add(&position);
            }
        }
        on_text(done + 1);
    }
    sums.report()
}

/// Runs of tokens, and of those that follow each.
fn chunks(text: &[u32]) -> impl Iterator<Item = (&[u32], &[u32])> {
    let next = text.get(1..).unwrap_or_default();
    text[..next.len()].chunks(CHUNK).zip(next.chunks(CHUNK))
}

/// What both models expect after one token, scored by the token that follows.
struct Position {
    reference_nll: f64,
    nll: f64,
    kl: f64,
    agrees: bool,
}

impl Position {
    /// From the logits of both.
    fn new(p: &[f32], q: &[f32], target: u32) -> Result<Self, ModelError> {
        let (p_norm, q_norm) = (log_sum_exp(p), log_sum_exp(q));
        let terms = p.iter().zip(q).map(|(p, q)| {
            let (ln_p, ln_q) = (f64::from(*p) - p_norm, f64::from(*q) - q_norm);
            f64::from((ln_p as f32).exp()) * (ln_p - ln_q)
        });
        let kl = terms.sum::<f64>();
        let (at, vocab_size) = (target as usize, p.len());
        match (p.get(at), q.get(at)) {
            (Some(p_target), Some(q_target)) => Ok(Self {
                reference_nll: p_norm - f64::from(*p_target),
                nll: q_norm - f64::from(*q_target),
                kl,
                agrees: first_largest(p) == first_largest(q),
            }),
            _ => Err(ModelError::TokenOutOfRange {
                id: target,
                vocab_size,
            }),
        }
    }
}

#[derive(Default)]
struct Sums {
    reference_nll: f64,
    nll: f64,
    kl: f64,
    agreed: usize,
    tokens: usize,
}

impl Sums {
    fn add(&mut self, position: &Position) {
        self.reference_nll += position.reference_nll;
        self.nll += position.nll;
        self.kl += position.kl;
        self.agreed += usize::from(position.agrees);
        self.tokens += 1;
    }

    fn report(self) -> Result<DivergenceReport, ModelError> {
        if self.tokens == 0 {
            return Err(ModelError::Empty {
                what: "set of texts with two tokens or more",
            });
        }
        let n = self.tokens as f64;
        Ok(DivergenceReport {
            reference_nll: self.reference_nll / n,
            nll: self.nll / n,
            kl: self.kl / n,
            top1_agreement: self.agreed as f64 / n,
            tokens: self.tokens,
        })
    }
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from((x - max).exp())).sum();
    f64::from(max) + sum.ln()
}

fn first_largest(logits: &[f32]) -> usize {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (1..logits.len()).fold(0, better)
}

#[cfg(test)]
mod tests;
