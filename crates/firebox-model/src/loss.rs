//! Next-token loss without ever holding `[tokens, vocab]`.

use burn::tensor::{Int, Tensor, TensorData};

use firebox_tensor::kernels::{
    MatmulPrecision, add_outer, add_rows, embedding, gradient_source, in_pool, linear, outer,
    product, softmax_nll,
};

use crate::attention::Positions;
use crate::error::ModelError;
use crate::generate::PREFILL_CHUNK;
use crate::kv_cache::KvCache;
use crate::llama::Llama;

/// Rows of logits held at once: the head is brought near the processor for each such chunk anew.
pub(crate) const CHUNK_ROWS: usize = 256;
/// A label with this value carries no loss.
pub const IGNORE: i64 = -100;

/// The loss of one batch, ready to go backward.
#[derive(Debug)]
pub struct Loss {
    /// Mean over them; of negative log-likelihoods, in nats.
    pub mean: f64,
    /// Labelled tokens, or documents with a target.
    pub n_tokens: usize,
    /// A scalar whose *gradients* are those of [`Loss::mean`]; its value means nothing. Call
    /// `backward` on it. Untracked when no weight of the model asks for gradients.
    pub surrogate: Tensor<1>,
}

/// Loss and gradients of a linear head with cross-entropy, for a chunk of rows at a time.
struct HeadLoss {
    nll: Vec<f32>,
    /// Gradient of the mean with respect to the hidden rows, `[rows, d_model]`.
    d_hidden: Option<Tensor<2>>,
    /// Gradient of the mean with respect to the head's weight, `[vocab, d_model]`.
    d_weight: Option<Tensor<2>>,
}

impl Llama {
    /// Mean next-token loss of right-padded rows. `labels[b][t]` is the token at `t` itself, or
    /// [`IGNORE`]; position `t` is predicted from the tokens before it, so `labels[b][0]` never
    /// counts.
    ///
    /// The head runs over chunks of rows, forward and backward at once, and its gradients enter the
    /// graph through a surrogate that stands for `⟨h, ∂L/∂h⟩ + ⟨W, ∂L/∂W⟩`, whose gradients are just
    /// these.
    ///
    /// # Errors
    /// [`ModelError::NoLabels`] when no label counts, [`ModelError::PromptTooLong`] for rows past the
    /// context, [`ModelError::TokenOutOfRange`].
    pub fn loss(&self, input_ids: &[Vec<u32>], labels: &[Vec<i64>]) -> Result<Loss, ModelError> {
        let ids = self.ids_tensor(input_ids)?;
        let [batch, seq] = ids.dims();
        self.config.check_context(seq)?;
        let starts: Vec<usize> = (0..batch).map(|row| row * seq).collect();
        let labelled = self.labelled_rows(labels, seq, &starts)?;
        let positions = self.positions(0, &ids);
        Ok(self.loss_at(ids, &positions, labelled))
    }

    /// As [`Llama::loss`] for rows into which documents are packed, see [`Llama::hidden_packed`]. The
    /// first token of a document never counts.
    ///
    /// # Errors
    /// As [`Llama::loss`]; the context is that of a document.
    ///
    /// # Panics
    /// As [`Llama::hidden_packed`].
    pub fn loss_packed(
        &self,
        input_ids: &[Vec<u32>],
        labels: &[Vec<i64>],
        cu_seqlens: &[usize],
    ) -> Result<Loss, ModelError> {
        let ids = self.ids_tensor(input_ids)?;
        let [_, seq] = ids.dims();
        let lengths = cu_seqlens
            .windows(2)
            .map(|ends| ends[1].saturating_sub(ends[0]));
        self.config.check_context(lengths.max().unwrap_or(0))?;
        let labelled = self.labelled_rows(labels, seq, cu_seqlens)?;
        let positions = self.positions(0, &ids).packed(cu_seqlens);
        Ok(self.loss_at(ids, &positions, labelled))
    }

    fn loss_at(
        &self,
        ids: Tensor<2, Int>,
        positions: &Positions,
        labelled: (Vec<i64>, Vec<i64>),
    ) -> Loss {
        if !self.goes_by_layer() {
            return self.head_loss_at(self.hidden_at(ids, positions), labelled);
        }
        let (mut mean, n_tokens) = (0.0, labelled.1.len());
        let surrogate = self.surrogate_by_layer(self, ids, positions, |hidden| {
            let loss = self.head_loss_at(hidden, labelled);
            mean = loss.mean;
            loss.surrogate
        });
        Loss {
            mean,
            n_tokens,
            surrogate,
        }
    }

    /// The loss of hidden states, `[batch, seq, d_model]`, at some rows with their targets.
    fn head_loss_at(&self, hidden: Tensor<3>, (rows, targets): (Vec<i64>, Vec<i64>)) -> Loss {
        let [batch, seq, d_model] = hidden.dims();
        let device = self.device();
        let hidden = hidden.reshape([batch * seq, d_model]);
        let hidden = hidden.select(0, int_tensor(&rows, &device)); // [labelled, d_model]
        let weight = self.lm_head_weight();
        let head = head_loss(hidden.clone(), weight.clone(), &targets, self.precision);
        let mut surrogate = Tensor::zeros([1], &device);
        if let Some(d_hidden) = head.d_hidden {
            surrogate = surrogate + gradient_source(hidden, d_hidden);
        }
        if let Some(d_weight) = head.d_weight {
            surrogate = surrogate + gradient_source(weight, d_weight);
        }
        Loss {
            mean: mean(&head.nll),
            n_tokens: targets.len(),
            surrogate,
        }
    }

    /// Negative log-likelihood of each token after the first, in nats: `ids.len() - 1` values.
    ///
    /// # Errors
    /// [`ModelError::Empty`] for fewer than two tokens, [`ModelError::PromptTooLong`],
    /// [`ModelError::TokenOutOfRange`].
    pub fn token_nll(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        if ids.len() < 2 {
            return Err(ModelError::Empty {
                what: "text behind its first token",
            });
        }
        self.config.check_context(ids.len())?;
        self.config.check_ids(ids)?;
        let device = self.device();
        let mut cache = KvCache::new(&self.config);
        let mut nll = Vec::with_capacity(ids.len() - 1);
        // In chunks over a cache: attention over the whole text at once would hold
        // [heads, seq, seq] scores.
        for start in (0..ids.len() - 1).step_by(PREFILL_CHUNK) {
            let end = (ids.len() - 1).min(start + PREFILL_CHUNK);
            let chunk = self.ids_tensor(&[&ids[start..end]])?;
            let targets: Vec<i64> = ids[start + 1..=end]
                .iter()
                .map(|&id| i64::from(id))
                .collect();
            let cache = &mut cache;
            let scores = in_pool(&device, || {
                let hidden = self.hidden_cached(chunk, cache).inner(); // [1, seq, d_model]
                let hidden = hidden.reshape([end - start, self.config.d_model]);
                head_loss(
                    hidden,
                    self.lm_head_weight().inner(),
                    &targets,
                    self.precision,
                )
                .nll
            });
            nll.extend(scores);
        }
        Ok(nll)
    }

    /// Flat row indices into `[batch * seq]` and the token that each must predict; none for the
    /// tokens at `starts`, which are in order.
    fn labelled_rows(
        &self,
        labels: &[Vec<i64>],
        seq: usize,
        starts: &[usize],
    ) -> Result<(Vec<i64>, Vec<i64>), ModelError> {
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (b, row) in labels.iter().enumerate() {
            for (t, &label) in row.iter().enumerate().take(seq).filter(|(t, label)| {
                **label != IGNORE && starts.binary_search(&(b * seq + t)).is_err()
            }) {
                match u32::try_from(label) {
                    Ok(id) if (id as usize) < self.config.vocab_size => {}
                    _ => {
                        let id = u32::try_from(label).unwrap_or(u32::MAX);
                        return Err(ModelError::TokenOutOfRange {
                            id,
                            vocab_size: self.config.vocab_size,
                        });
                    }
                }
                rows.push((b * seq + t) as i64 - 1);
                targets.push(label);
            }
        }
        match rows.is_empty() {
            true => Err(ModelError::NoLabels),
            false => Ok((rows, targets)),
        }
    }
}

/// `hidden` `[rows, d_model]`, `weight` `[vocab, d_model]`, one target a row.
fn head_loss(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: &[i64],
    precision: MatmulPrecision,
) -> HeadLoss {
    let (hidden_tracked, weight_tracked) = (is_tracked(&hidden), is_tracked(&weight));
    let (hidden, weight) = (hidden.inner(), weight.inner());
    let n = targets.len();
    // The weight's gradient is divided by `n`: a factor that is, before it is multiplied, would be too
    // small for f16, where no loss is scaled yet, and sums of whole factors might be too large.
    let early = match precision {
        MatmulPrecision::F16 => n.min(16),
        MatmulPrecision::F32 | MatmulPrecision::Bf16 => n,
    };
    let mut nll = Vec::with_capacity(n);
    let mut d_hidden = Vec::new();
    let mut d_weight = None;
    for start in (0..n).step_by(CHUNK_ROWS) {
        let rows = CHUNK_ROWS.min(n - start);
        let h = hidden.clone().narrow(0, start, rows); // [rows, d_model]
        let logits = linear(h.clone(), weight.clone(), precision); // [rows, vocab]
        let indices: Vec<usize> = targets[start..start + rows]
            .iter()
            .map(|target| *target as usize)
            .collect();
        let chunk = softmax_nll(logits, &indices);
        nll.extend(chunk.nll);
        // ∂L/∂logits = (softmax − onehot) / n. The softmax's denominator is applied to the narrow
        // side of each product, not to [rows, vocab].
        let scale = |n: usize| chunk.sum.clone().mul_scalar(n as f64).recip(); // [rows, 1]
        if hidden_tracked {
            let target = int_tensor(&targets[start..start + rows], &h.device());
            let at_target = embedding(weight.clone(), target).div_scalar(n as f64);
            let expected = product(chunk.exp.clone(), weight.clone(), precision) * scale(n); // [rows, d_model]
            d_hidden.push(expected - at_target);
        }
        if weight_tracked {
            let h_scaled = h.clone() * scale(early);
            let sum = match d_weight {
                None => outer(chunk.exp, h_scaled, precision), // [vocab, d_model]
                Some(sum) => add_outer(sum, chunk.exp, h_scaled, precision),
            };
            d_weight = Some(add_rows(sum, &indices, h.div_scalar(-(early as f64))));
        }
    }
    if early < n {
        d_weight = d_weight.map(|sum| sum.mul_scalar(early as f64 / n as f64));
    }
    let d_hidden = hidden_tracked.then(|| Tensor::cat(d_hidden, 0));
    HeadLoss {
        nll,
        d_hidden,
        d_weight,
    }
}

pub(crate) fn is_tracked<const D: usize>(x: &Tensor<D>) -> bool {
    x.is_autodiff() && x.is_tracked()
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64
}

pub(crate) fn int_tensor(values: &[i64], device: &burn::tensor::Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

#[cfg(test)]
mod tests;
