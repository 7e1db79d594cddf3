//! Batches of examples of different lengths, padded to the longest of each batch.

use serde::{Deserialize, Serialize};

use crate::batch::locate;
use crate::shuffle::EpochOrder;
use crate::{Batch, BatchSource, DataError, Example, Order};

/// How examples become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaddedConfig {
    /// Examples in a batch; the last batch of an epoch may have fewer.
    pub batch_size: usize,
    /// Longer examples are cut at the end.
    pub max_len: usize,
    /// Written after the end of shorter rows; no loss is taken on it.
    pub pad_id: u32,
    /// In which order an epoch visits the examples.
    #[serde(default)]
    pub order: Order,
}

/// Batches of padded examples; see [`padded_batches`].
#[derive(Debug)]
pub struct PaddedBatches {
    examples: Vec<Example>,
    config: PaddedConfig,
    epochs: EpochOrder,
    n_truncated: usize,
    n_truncated_tokens: usize,
    n_without_loss: usize,
}

/// Batches examples, one per row.
///
/// An example longer than `max_len` is cut, and one that has no loss left (a prompt that fills
/// `max_len` by itself) is left out; both are counted.
///
/// # Errors
/// [`DataError::ZeroSize`], or [`DataError::NoBatches`] if no example has loss.
pub fn padded_batches(
    examples: impl IntoIterator<Item = Example>,
    config: &PaddedConfig,
) -> Result<PaddedBatches, DataError> {
    for (name, size) in [
        ("max_len", config.max_len),
        ("batch_size", config.batch_size),
    ] {
        if size == 0 {
            return Err(DataError::ZeroSize { name });
        }
    }
    let (mut n_inputs, mut n_tokens) = (0, 0);
    let (mut n_truncated, mut n_truncated_tokens) = (0, 0);
    let mut kept = Vec::new();
    for mut example in examples {
        n_inputs += 1;
        n_tokens += example.input_ids.len();
        if example.input_ids.len() > config.max_len {
            n_truncated += 1;
            n_truncated_tokens += example.input_ids.len() - config.max_len;
            example.input_ids.truncate(config.max_len);
            example.labels.truncate(config.max_len);
        }
        if example.n_loss_tokens() > 0 {
            kept.push(example);
        }
    }
    if kept.is_empty() {
        let unit = "example with loss".to_string();
        return Err(DataError::NoBatches {
            unit,
            n_inputs,
            n_tokens,
        });
    }
    Ok(PaddedBatches {
        epochs: EpochOrder::new(kept.len(), config.order),
        n_without_loss: n_inputs - kept.len(),
        examples: kept,
        config: *config,
        n_truncated,
        n_truncated_tokens,
    })
}

impl PaddedBatches {
    /// How many examples there are.
    #[must_use]
    pub fn n_examples(&self) -> usize {
        self.examples.len()
    }

    /// How many examples were cut at `max_len`.
    #[must_use]
    pub fn n_truncated(&self) -> usize {
        self.n_truncated
    }

    /// How many tokens were cut off.
    #[must_use]
    pub fn n_truncated_tokens(&self) -> usize {
        self.n_truncated_tokens
    }

    /// How many examples were left out because no token of theirs has loss.
    #[must_use]
    pub fn n_without_loss(&self) -> usize {
        self.n_without_loss
    }
}

impl BatchSource for PaddedBatches {
    fn n_batches(&self) -> usize {
        self.examples.len().div_ceil(self.config.batch_size)
    }

    fn batch(&self, step: u64) -> Batch {
        let (epoch, places) = locate(step, self.examples.len(), self.config.batch_size);
        let rows = self.epochs.items(epoch, places);
        Batch::pad(
            rows.iter().map(|&index| &self.examples[index]),
            self.config.pad_id,
        )
    }
}

#[cfg(test)]
mod tests;
