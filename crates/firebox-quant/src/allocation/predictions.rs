//! What a model expects after each token of a text.

use burn::tensor::Tensor;
use firebox_model::host_f32;
use firebox_tensor::host::{SimdLevel, softmax_nll};
use rayon::prelude::*;

/// Log-ratios below this are in the reach of a short series.
const SMALL: f32 = 0.1;
/// Entries whose sum stays in f32.
const RUN: usize = 1024;

/// Rows of probabilities, `[tokens, vocab]`.
pub(super) struct Predictions {
    vocab: usize,
    log_p: Vec<f32>,
    p: Vec<f32>,
}

impl Predictions {
    /// From logits, `[tokens, vocab]`.
    pub(super) fn new(logits: Tensor<2>, vocab: usize) -> Self {
        let mut log_p = host_f32(logits);
        let mut p = log_p.clone();
        let n_rows = p.len() / vocab;
        let (nll, sums) = softmax_nll(SimdLevel::current(), &mut p, &vec![0; n_rows]);
        let rows = log_p.par_chunks_mut(vocab).zip(p.par_chunks_mut(vocab));
        rows.zip(nll)
            .zip(sums)
            .for_each(|(((log_p, p), nll), sum)| {
                let norm = nll + log_p[0];
                log_p.iter_mut().for_each(|x| *x -= norm);
                p.iter_mut().for_each(|x| *x /= sum);
            });
        Self { vocab, log_p, p }
    }

    /// `Σ p ln(p / q)`, summed over the rows, in nats. Computed as `Σ p (Δ + exp(−Δ) − 1)` with
    /// `Δ = ln p − ln q`: no term is negative, so that a small sum does not drown in the rounding of
    /// others.
    ///
    /// # Panics
    /// If there are more or fewer rows of the other.
    pub(super) fn divergence(&self, other: &Self) -> f64 {
        assert_eq!(self.p.len(), other.p.len(), "predictions of the same text");
        let row = |i: usize| -> f64 {
            let runs = (i * self.vocab..(i + 1) * self.vocab).step_by(RUN);
            runs.map(|first| f64::from(self.run(other, first, (i + 1) * self.vocab)))
                .sum()
        };
        let n_rows = self.p.len() / self.vocab;
        // Added in order, whatever the number of threads.
        let rows: Vec<f64> = (0..n_rows).into_par_iter().map(row).collect();
        rows.iter().sum()
    }

    /// The part of a row that begins at `first`.
    fn run(&self, other: &Self, first: usize, end: usize) -> f32 {
        let places = first..end.min(first + RUN);
        let expected = self.log_p[places.clone()]
            .iter()
            .zip(&self.p[places.clone()]);
        let found = other.log_p[places.clone()].iter().zip(&other.p[places]);
        let term = |((log_p, p), (log_q, q)): ((&f32, &f32), (&f32, &f32))| {
            let delta = log_p - log_q;
            let series = p * delta * delta * (0.5 + delta * (delta / 24.0 - 1.0 / 6.0));
            let direct = p * delta + q - p;
            if delta.abs() < SMALL { series } else { direct }
        };
        expected.zip(found).map(term).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    const VOCAB: usize = 3000;

    fn logits(change: f32) -> Vec<f32> {
        let logit = |i: usize| 4.0 * (i as f32 * 0.7).sin() + change * (i as f32 * 1.3).cos();
        (0..3 * VOCAB).map(logit).collect()
    }

    /// In f64, as it is written.
    fn plain(p: &[f32], q: &[f32]) -> f64 {
        let norm = |x: &[f32]| x.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        let row = |(p, q): (&[f32], &[f32])| {
            let (p_norm, q_norm) = (norm(p), norm(q));
            let term = |(p, q): (&f32, &f32)| {
                let (p, q) = (f64::from(*p) - p_norm, f64::from(*q) - q_norm);
                p.exp() * (p - q)
            };
            p.iter().zip(q).map(term).sum::<f64>()
        };
        p.chunks(VOCAB).zip(q.chunks(VOCAB)).map(row).sum()
    }

    #[test]
    fn divergences_are_those_of_the_definition_small_ones_too() {
        let of = |logits: &[f32]| {
            let logits = Tensor::<1>::from_floats(logits, &Device::flex());
            Predictions::new(logits.reshape([3, VOCAB]), VOCAB)
        };
        let p = logits(0.0);
        for change in [3e-4, 0.01, 0.3, 2.0] {
            let q = logits(change);
            let (expected, found) = (plain(&p, &q), of(&p).divergence(&of(&q)));
            let off = (found / expected - 1.0).abs();
            assert!(off < 2e-3, "{change}: {found} and {expected}");
        }
        assert!(of(&p).divergence(&of(&p)) == 0.0);
    }
}
