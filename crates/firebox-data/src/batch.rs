//! Batches: what one training step sees.

use serde::{Deserialize, Serialize};

use crate::example::count_loss_tokens;
use crate::{Example, IGNORE_LABEL};

/// Rows of equal length, padded on the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[batch, seq]`.
    pub input_ids: Vec<Vec<u32>>,
    /// Labels as in [`Example`], `[batch, seq]`; [`IGNORE_LABEL`] on padding.
    pub labels: Vec<Vec<i64>>,
    /// Tokens of each row before its padding, `[batch]`.
    pub lengths: Vec<usize>,
}

/// Counts over batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchStatistics {
    /// Rows.
    pub n_rows: usize,
    /// Tokens that are not padding.
    pub n_tokens: usize,
    /// Tokens that the loss is taken on.
    pub n_loss_tokens: usize,
    /// Padding.
    pub n_padding: usize,
}

/// Batches by step number, so that training resumes at any step with the same data.
pub trait BatchSource {
    /// Batches in one epoch, at least one.
    fn n_batches(&self) -> usize;

    /// The batch of a step, counted from 0; step [`n_batches`](Self::n_batches) begins the second
    /// epoch.
    fn batch(&self, step: u64) -> Batch;

    /// Counts over one epoch (with shuffled padded batches, over the first).
    fn statistics(&self) -> BatchStatistics {
        let mut total = BatchStatistics::default();
        for step in 0..self.n_batches() {
            total.add(self.batch(step as u64).statistics());
        }
        total
    }
}

impl Batch {
    /// Pads examples to the longest of them.
    #[must_use]
    pub fn pad<'a>(examples: impl IntoIterator<Item = &'a Example>, pad_id: u32) -> Self {
        let (mut input_ids, mut labels) = (Vec::new(), Vec::new());
        for example in examples {
            input_ids.push(example.input_ids.clone());
            labels.push(example.labels.clone());
        }
        let lengths: Vec<usize> = input_ids.iter().map(Vec::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for (ids, labels) in input_ids.iter_mut().zip(&mut labels) {
            ids.resize(longest, pad_id);
            labels.resize(longest, IGNORE_LABEL);
        }
        Self {
            input_ids,
            labels,
            lengths,
        }
    }

    /// Counts over this batch.
    #[must_use]
    pub fn statistics(&self) -> BatchStatistics {
        let n_tokens = self.lengths.iter().sum();
        BatchStatistics {
            n_rows: self.input_ids.len(),
            n_tokens,
            n_loss_tokens: self.labels.iter().map(|row| count_loss_tokens(row)).sum(),
            n_padding: self.input_ids.iter().map(Vec::len).sum::<usize>() - n_tokens,
        }
    }
}

impl BatchStatistics {
    /// The share of all places that is padding, 0 to 1.
    #[must_use]
    pub fn padding_share(&self) -> f64 {
        let n_places = self.n_tokens + self.n_padding;
        if n_places == 0 {
            0.0
        } else {
            self.n_padding as f64 / n_places as f64
        }
    }

    /// Adds the counts of other batches.
    pub fn add(&mut self, other: Self) {
        self.n_rows += other.n_rows;
        self.n_tokens += other.n_tokens;
        self.n_loss_tokens += other.n_loss_tokens;
        self.n_padding += other.n_padding;
    }
}

/// The epoch of a step, and the places in that epoch's order that its batch takes.
pub(crate) fn locate(
    step: u64,
    n_items: usize,
    batch_size: usize,
) -> (u64, std::ops::Range<usize>) {
    let n_batches = n_items.div_ceil(batch_size) as u64;
    let start = (step % n_batches) as usize * batch_size;
    (step / n_batches, start..n_items.min(start + batch_size))
}
