//! How a loader makes batches.

use serde::{Deserialize, Serialize};

use crate::{LoaderError, Order, Truncation};

/// How examples become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RowLayout {
    /// One example a row, padded to the longest of its batch: blocks, or short conversations.
    #[default]
    OnePerRow,
    /// Several examples a row, by best fit among `window_examples` of them, padded to `max_len`.
    /// Whole windows are packed, so a batch is the same whatever came before it.
    Packed {
        /// Examples that are packed at a time; thousands waste less.
        window_examples: usize,
    },
}

/// The part of the examples that one process of a distributed run takes: of each `n_ranks` in a row,
/// the one at place `rank`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankShard {
    /// This process, from 0.
    pub rank: usize,
    /// All processes.
    pub n_ranks: usize,
}

impl Default for RankShard {
    fn default() -> Self {
        Self {
            rank: 0,
            n_ranks: 1,
        }
    }
}

/// How a [`Loader`](crate::Loader) makes batches. Together with the sources it decides every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderConfig {
    /// Rows in a batch; the last batch of a limited run may have fewer.
    pub batch_size: usize,
    /// Tokens in a row, at most; packed rows have just as many.
    pub max_len: usize,
    /// Written after the end of shorter rows; no loss is taken on it.
    pub pad_id: u32,
    /// How examples become rows.
    #[serde(default)]
    pub layout: RowLayout,
    /// What becomes of examples longer than a row.
    #[serde(default)]
    pub truncation: Truncation,
    /// In which order each source is visited, anew in each of its epochs.
    #[serde(default)]
    pub order: Order,
    /// The part of the examples that is this process's.
    #[serde(default)]
    pub shard: RankShard,
    /// Examples in the whole run, over all ranks; without it, the batches do not end, and each rank
    /// has as many as any other.
    #[serde(default)]
    pub n_examples: Option<u64>,
}

/// Threads that load ahead. They change when batches are ready, never what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefetch {
    /// Threads; with 0, batches are made when they are asked for.
    pub n_workers: usize,
    /// Chunks (a batch's examples, or a window's) that each thread keeps ready, at least 1.
    pub n_chunks: usize,
}

impl Prefetch {
    /// No threads.
    pub const OFF: Self = Self {
        n_workers: 0,
        n_chunks: 0,
    };
}

/// Threads at most.
const MAX_WORKERS: usize = 1024;

impl LoaderConfig {
    /// Whether batches can be made in this way.
    ///
    /// # Errors
    /// [`LoaderError::BadSetting`] and [`LoaderError::Packing`].
    pub fn check(&self) -> Result<(), LoaderError> {
        let window_examples = match self.layout {
            RowLayout::OnePerRow => 1,
            RowLayout::Packed { window_examples } => window_examples,
        };
        for (name, found) in [
            ("batch_size", self.batch_size),
            ("max_len", self.max_len),
            ("window_examples", window_examples),
            ("n_ranks", self.shard.n_ranks),
        ] {
            let expected = "of at least 1";
            if found == 0 {
                return Err(LoaderError::BadSetting {
                    name,
                    expected,
                    found,
                });
            }
        }
        if self.shard.rank >= self.shard.n_ranks {
            return Err(LoaderError::BadSetting {
                name: "rank",
                expected: "below `n_ranks`",
                found: self.shard.rank,
            });
        }
        Ok(self.truncation.check(self.max_len)?)
    }

    /// Examples that are loaded at a time.
    pub(super) fn chunk_examples(&self) -> u64 {
        match self.layout {
            RowLayout::OnePerRow => self.batch_size as u64,
            RowLayout::Packed { window_examples } => window_examples as u64,
        }
    }
}

impl Prefetch {
    pub(super) fn check(self) -> Result<(), LoaderError> {
        if self.n_workers > MAX_WORKERS {
            return Err(LoaderError::BadSetting {
                name: "n_workers",
                expected: "of at most 1024",
                found: self.n_workers,
            });
        }
        Ok(())
    }
}
