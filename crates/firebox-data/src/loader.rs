//! The loader: shuffled, mixed, sharded, loaded ahead, and resumed at the exact batch.

mod config;
mod error;
mod feed;
mod plan;
mod source;
mod state;

use std::collections::VecDeque;
use std::iter::FusedIterator;
use std::sync::Arc;

use crate::{BatchStatistics, Example, PackedBatch, TruncationStatistics};

use feed::Feed;
use plan::Plan;
use state::STATE_VERSION;

pub use config::{LoaderConfig, Prefetch, RankShard, RowLayout};
pub use error::LoaderError;
pub use source::{ExampleSource, WeightedSource};
pub use state::{LoaderState, SourceState};

/// Batches from weighted sources, one after the other.
///
/// Every batch is decided by the config and the sources: neither the number of prefetch threads nor
/// where the run was interrupted changes one. Each epoch of a source visits each of its examples
/// once, over all ranks together, in an order that is computed place by place
/// ([`Permutation`](crate::Permutation)), so that memory does not grow with the corpus.
///
/// After an error nothing more comes; [`state`](Self::state) is then that of the last good batch.
///
/// # Examples
/// ```
/// use firebox_data::{
///     Example, Loader, LoaderConfig, LoaderState, Order, Prefetch, RankShard, RowLayout, Truncation,
///     WeightedSource,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sources = || {
///     let corpus = |first: u32| -> Vec<Example> {
///         (first..first + 50).map(|id| Example::from_ids(vec![id; 3])).collect()
///     };
///     vec![
///         WeightedSource::new("papers", 3.0, corpus(100)),
///         WeightedSource::new("chats", 1.0, corpus(200)),
///     ]
/// };
/// let config = LoaderConfig {
///     batch_size: 2,
///     max_len: 8,
///     pad_id: 0,
///     layout: RowLayout::Packed { window_examples: 16 },
///     truncation: Truncation::KeepStart,
///     order: Order::Shuffled { seed: 1 },
///     shard: RankShard { rank: 0, n_ranks: 2 },
///     n_examples: Some(100),
/// };
/// let mut loader = Loader::new(sources(), config, Prefetch { n_workers: 2, n_chunks: 1 })?;
/// assert!(loader.next().transpose()?.is_some());
/// let saved = serde_json::to_string(&loader.state())?;
/// let rest: Vec<_> = loader.collect::<Result<_, _>>()?;
///
/// let state: LoaderState = serde_json::from_str(&saved)?;
/// let resumed = Loader::resume(sources(), &state, Prefetch::OFF)?;
/// assert_eq!(resumed.collect::<Result<Vec<_>, _>>()?, rest);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Loader {
    plan: Arc<Plan>,
    feed: Feed,
    /// Where the next batch begins.
    position: Position,
    /// Rows that are loaded and not given out, from `position` on.
    rows: VecDeque<Vec<Example>>,
    /// The next chunk to load.
    next_chunk: u64,
    /// Turns of all ranks since the last row.
    n_idle_turns: u64,
    statistics: LoaderStatistics,
    is_done: bool,
}

/// Counts over the batches that a [`Loader`] gave out, since it was made or resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoaderStatistics {
    /// Rows, tokens and padding.
    pub batches: BatchStatistics,
    /// What the truncation rule did, up to the last loaded example.
    pub truncation: TruncationStatistics,
    /// Examples left out because no token of theirs has loss, up to the last loaded example.
    pub n_without_loss: usize,
}

/// A place between two rows.
#[derive(Debug, Clone, Copy)]
struct Position {
    n_batches: u64,
    chunk: u64,
    row: usize,
}

impl Loader {
    /// A loader at its first batch.
    ///
    /// # Errors
    /// What is wrong with the settings or the sources, and [`LoaderError::Spawn`].
    pub fn new(
        sources: Vec<WeightedSource>,
        config: LoaderConfig,
        prefetch: Prefetch,
    ) -> Result<Self, LoaderError> {
        let start = Position {
            n_batches: 0,
            chunk: 0,
            row: 0,
        };
        Self::at(Plan::new(sources, config)?, start, prefetch)
    }

    /// A loader at the batch after a saved state, over the same sources in the same order.
    ///
    /// # Errors
    /// As [`new`](Self::new), and what is different from when the state was saved.
    pub fn resume(
        sources: Vec<WeightedSource>,
        state: &LoaderState,
        prefetch: Prefetch,
    ) -> Result<Self, LoaderError> {
        state.check_version()?;
        let plan = Plan::new(sources, state.config)?;
        state.check(&plan.source_states(0))?;
        let position = Position {
            n_batches: state.n_batches,
            chunk: state.chunk,
            row: state.row,
        };
        Self::at(plan, position, prefetch)
    }

    fn at(plan: Plan, position: Position, prefetch: Prefetch) -> Result<Self, LoaderError> {
        let plan = Arc::new(plan);
        Ok(Self {
            feed: Feed::new(&plan, position.chunk, prefetch)?,
            plan,
            position,
            rows: VecDeque::new(),
            next_chunk: position.chunk,
            n_idle_turns: 0,
            statistics: LoaderStatistics::default(),
            is_done: false,
        })
    }

    /// The place after the last batch that was given out: what to save with a checkpoint.
    #[must_use]
    pub fn state(&self) -> LoaderState {
        let n_turns = self.plan.n_turns_before(self.position.chunk);
        LoaderState {
            version: STATE_VERSION,
            config: self.plan.config,
            sources: self.plan.source_states(n_turns),
            n_batches: self.position.n_batches,
            chunk: self.position.chunk,
            row: self.position.row,
        }
    }

    /// Counts over the batches so far.
    #[must_use]
    pub fn statistics(&self) -> LoaderStatistics {
        self.statistics
    }

    fn next_batch(&mut self) -> Result<Option<PackedBatch>, LoaderError> {
        let config = self.plan.config;
        let mut position = self.position;
        let mut rows = Vec::new();
        while rows.len() < config.batch_size {
            match self.next_row(&mut position)? {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        if rows.is_empty() {
            // The run may end here, but not without having had a row.
            return match self.n_idle_turns {
                n_examples @ 1.. if self.position.n_batches == 0 => {
                    Err(LoaderError::NoRows { n_examples })
                }
                _ => Ok(None),
            };
        }
        position.n_batches += 1;
        self.position = position;
        let min_seq_len = match config.layout {
            RowLayout::OnePerRow => 0,
            RowLayout::Packed { .. } => config.max_len,
        };
        let batch = PackedBatch::assemble(&rows, min_seq_len, config.pad_id);
        self.statistics.batches.add(batch.statistics());
        Ok(Some(batch))
    }

    /// The row at a position, which then is at the one after it; none at the end.
    fn next_row(&mut self, position: &mut Position) -> Result<Option<Vec<Example>>, LoaderError> {
        while self.rows.is_empty() {
            let n_chunks = self.plan.n_chunks().unwrap_or(u64::MAX);
            if self.next_chunk >= n_chunks {
                return Ok(None);
            }
            self.load_chunk(position)?;
        }
        let row = self.rows.pop_front();
        position.row += 1;
        if self.rows.is_empty() {
            position.chunk = self.next_chunk;
            position.row = 0;
        }
        self.n_idle_turns = 0;
        Ok(row)
    }

    /// Loads the chunk that a position is in, and drops the rows before it.
    fn load_chunk(&mut self, position: &mut Position) -> Result<(), LoaderError> {
        let chunk = self.feed.chunk(&self.plan, self.next_chunk)?;
        self.statistics.truncation.add(chunk.truncation);
        self.statistics.n_without_loss += chunk.n_without_loss;
        let (n_rows, row) = (chunk.rows.len(), position.row);
        if row > n_rows {
            let chunk = self.next_chunk;
            return Err(LoaderError::StatePlace { chunk, row, n_rows });
        }
        self.rows = chunk.rows.into_iter().skip(row).collect();
        let before = self.plan.n_turns_before(self.next_chunk);
        self.next_chunk += 1;
        if self.rows.is_empty() {
            position.chunk = self.next_chunk;
            position.row = 0;
            self.n_idle_turns += self.plan.n_turns_before(self.next_chunk) - before;
            if self.n_idle_turns > self.plan.n_turns_of_a_pass() {
                let n_examples = self.n_idle_turns;
                return Err(LoaderError::NoRows { n_examples });
            }
        }
        Ok(())
    }
}

impl Iterator for Loader {
    type Item = Result<PackedBatch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let batch = self.next_batch();
        self.is_done = !matches!(batch, Ok(Some(_)));
        batch.transpose()
    }
}

impl FusedIterator for Loader {}

#[cfg(test)]
mod tests;
