//! Batches of rows that hold several documents, each with its own positions and attention.

use serde::{Deserialize, Serialize};

use crate::batch::locate;
use crate::example::count_loss_tokens;
use crate::packing::pack;
use crate::shuffle::EpochOrder;
use crate::{
    Batch, BatchStatistics, Example, IGNORE_LABEL, Order, PackingError, Truncation,
    TruncationStatistics,
};

/// Rows of equal length, each of whole documents side by side and then padding.
///
/// # Examples
/// ```
/// use firebox_data::{Example, IGNORE_LABEL, PackedBatch};
///
/// let documents = [Example::from_ids(vec![5, 6, 7]), Example::from_ids(vec![8, 9])];
/// let batch = PackedBatch::assemble([&documents[..]], 6, 0);
/// assert_eq!(batch.input_ids, [[5, 6, 7, 8, 9, 0]]);
/// assert_eq!(batch.position_ids, [[0, 1, 2, 0, 1, 0]]);
/// assert_eq!(batch.labels[0][3..], [IGNORE_LABEL, 9, IGNORE_LABEL]);
/// assert_eq!(batch.cu_seqlens(), [0, 3, 5, 6]); // the padding is a document of its own
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBatch {
    /// Token ids, `[batch, seq]`.
    pub input_ids: Vec<Vec<u32>>,
    /// Labels as in [`Example`], `[batch, seq]`; [`IGNORE_LABEL`] on padding and on the first token
    /// of each document, which nothing before it predicts.
    pub labels: Vec<Vec<i64>>,
    /// The place of each token in its document, `[batch, seq]`; padding counts as a document.
    pub position_ids: Vec<Vec<u32>>,
    /// Tokens of each document, row by row, without padding.
    pub document_lengths: Vec<Vec<usize>>,
}

/// How examples become packed rows and rows become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedConfig {
    /// Tokens in a row.
    pub seq_len: usize,
    /// Rows in a batch; the last batch of an epoch may have fewer.
    pub batch_size: usize,
    /// Written after the last document of a row; no loss is taken on it.
    pub pad_id: u32,
    /// What becomes of examples longer than a row.
    #[serde(default)]
    pub truncation: Truncation,
    /// In which order an epoch visits the rows. In order, the rows of the longest documents come
    /// first.
    #[serde(default)]
    pub order: Order,
}

/// Batches of packed rows; see [`packed_batches`].
#[derive(Debug)]
pub struct PackedBatches {
    rows: Vec<Vec<Example>>,
    config: PackedConfig,
    epochs: EpochOrder,
    truncation: TruncationStatistics,
    n_without_loss: usize,
}

impl PackedBatch {
    /// Writes documents side by side, row by row, and pads every row to the longest of them, and to
    /// at least `min_seq_len` tokens. Documents without tokens are left out; labels that are missing
    /// are filled with [`IGNORE_LABEL`].
    #[must_use]
    pub fn assemble<'a, R>(
        rows: impl IntoIterator<Item = R>,
        min_seq_len: usize,
        pad_id: u32,
    ) -> Self
    where
        R: IntoIterator<Item = &'a Example>,
    {
        let (mut input_ids, mut labels) = (Vec::new(), Vec::new());
        let mut document_lengths = Vec::new();
        for row in rows {
            let (mut row_ids, mut row_labels, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
            for document in row.into_iter().filter(|row| !row.input_ids.is_empty()) {
                row_ids.extend_from_slice(&document.input_ids);
                row_labels.push(IGNORE_LABEL);
                row_labels.extend(document.labels.iter().skip(1));
                row_labels.resize(row_ids.len(), IGNORE_LABEL);
                lengths.push(document.input_ids.len());
            }
            input_ids.push(row_ids);
            labels.push(row_labels);
            document_lengths.push(lengths);
        }
        let longest = input_ids.iter().map(Vec::len).max().unwrap_or(0);
        let seq_len = longest.max(min_seq_len);
        for (ids, labels) in input_ids.iter_mut().zip(&mut labels) {
            ids.resize(seq_len, pad_id);
            labels.resize(seq_len, IGNORE_LABEL);
        }
        let position_ids = document_lengths.iter();
        Self {
            position_ids: position_ids
                .map(|lengths| positions(lengths, seq_len))
                .collect(),
            input_ids,
            labels,
            document_lengths,
        }
    }

    /// Where each document begins among the `batch * seq` tokens, and then their number: what
    /// attention over packed rows takes (`loss_packed` and `hidden_packed` in `firebox-model`, and
    /// kernels of variable length). The padding of a row is a document of its own.
    #[must_use]
    pub fn cu_seqlens(&self) -> Vec<usize> {
        let mut starts = Vec::new();
        let mut row_start = 0;
        for (ids, lengths) in self.input_ids.iter().zip(&self.document_lengths) {
            let mut start = row_start;
            for length in lengths {
                starts.push(start);
                start += length;
            }
            row_start += ids.len();
            if start < row_start {
                starts.push(start);
            }
        }
        starts.push(row_start);
        starts
    }

    /// The same rows without the boundaries between documents, for models that attend to whole rows.
    #[must_use]
    pub fn into_batch(self) -> Batch {
        Batch {
            lengths: self
                .document_lengths
                .iter()
                .map(|row| row.iter().sum())
                .collect(),
            input_ids: self.input_ids,
            labels: self.labels,
        }
    }

    /// Counts over this batch.
    #[must_use]
    pub fn statistics(&self) -> BatchStatistics {
        let n_tokens = self.document_lengths.iter().flatten().sum();
        BatchStatistics {
            n_rows: self.input_ids.len(),
            n_tokens,
            n_loss_tokens: self.labels.iter().map(|row| count_loss_tokens(row)).sum(),
            n_padding: self.input_ids.iter().map(Vec::len).sum::<usize>() - n_tokens,
        }
    }
}

/// Positions from 0 within each document, and within the padding.
fn positions(lengths: &[usize], seq_len: usize) -> Vec<u32> {
    let n_padding = seq_len - lengths.iter().sum::<usize>();
    let spans = lengths.iter().copied().chain([n_padding]);
    spans.flat_map(|length| 0..length as u32).collect()
}

/// Packs examples into rows by [`best_fit_decreasing`](crate::best_fit_decreasing) and rows into
/// batches. No example crosses the end of a row, and none is cut but by the truncation rule; those
/// without loss are left out and counted.
///
/// # Errors
/// [`PackingError::ZeroSize`], [`PackingError::OverlapTooLarge`], [`PackingError::LabelCount`], and
/// [`PackingError::NoRows`] if no example has loss.
pub fn packed_batches(
    examples: impl IntoIterator<Item = Example>,
    config: &PackedConfig,
) -> Result<PackedBatches, PackingError> {
    for (name, size) in [
        ("seq_len", config.seq_len),
        ("batch_size", config.batch_size),
    ] {
        if size == 0 {
            return Err(PackingError::ZeroSize { name });
        }
    }
    config.truncation.check(config.seq_len)?;
    let mut truncation = TruncationStatistics::default();
    let (mut kept, mut n_without_loss) = (Vec::new(), 0);
    for example in examples {
        for part in config
            .truncation
            .apply(example, config.seq_len, &mut truncation)?
        {
            if part.n_loss_tokens() > 0 {
                kept.push(part);
            } else {
                n_without_loss += 1;
            }
        }
    }
    if kept.is_empty() {
        return Err(PackingError::NoRows {
            n_examples: truncation.n_examples,
            n_tokens: truncation.n_tokens,
        });
    }
    let rows = pack(kept, config.seq_len)?;
    Ok(PackedBatches {
        epochs: EpochOrder::new(rows.len(), config.order),
        rows,
        config: *config,
        truncation,
        n_without_loss,
    })
}

impl PackedBatches {
    /// How many rows there are.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Batches in one epoch, at least one.
    #[must_use]
    pub fn n_batches(&self) -> usize {
        self.rows.len().div_ceil(self.config.batch_size)
    }

    /// The batch of a step, counted from 0; step [`n_batches`](Self::n_batches) begins the second
    /// epoch.
    #[must_use]
    pub fn batch(&self, step: u64) -> PackedBatch {
        let (epoch, places) = locate(step, self.rows.len(), self.config.batch_size);
        let rows = self.epochs.items(epoch, places);
        let rows = rows.iter().map(|&row| &self.rows[row]);
        PackedBatch::assemble(rows, self.config.seq_len, self.config.pad_id)
    }

    /// Counts over one epoch.
    #[must_use]
    pub fn statistics(&self) -> BatchStatistics {
        let documents = || self.rows.iter().flatten();
        let n_tokens = documents().map(|example| example.input_ids.len()).sum();
        BatchStatistics {
            n_rows: self.rows.len(),
            n_tokens,
            n_loss_tokens: documents().map(Example::n_loss_tokens).sum(),
            n_padding: self.rows.len() * self.config.seq_len - n_tokens,
        }
    }

    /// What the truncation rule did.
    #[must_use]
    pub fn truncation(&self) -> TruncationStatistics {
        self.truncation
    }

    /// How many examples, or windows of them, were left out because no token of theirs has loss.
    #[must_use]
    pub fn n_without_loss(&self) -> usize {
        self.n_without_loss
    }
}

#[cfg(test)]
mod tests;
