//! Every n-th batch of a source.

use serde_json::Value;

use crate::{batch::BatchSource, error::BatchError};

use super::world::World;

/// The share that one rank has of a source whose batches go by number: of `n` ranks, rank `r` takes
/// batches `r`, `r + n`, `r + 2n` and so on. Together they are the steps of one process with `n` times
/// as many batches a step.
///
/// A [`crate::LoaderBatches`] goes forward only and has a share of its own, the loader's `shard`.
#[derive(Debug, Clone)]
pub struct RankBatches<S> {
    source: S,
    rank: usize,
    n_ranks: usize,
}

impl<S: BatchSource> RankBatches<S> {
    /// The share of this rank.
    pub fn new(source: S, world: &World) -> Self {
        Self {
            source,
            rank: world.rank(),
            n_ranks: world.n_ranks(),
        }
    }
}

impl<S: BatchSource> BatchSource for RankBatches<S> {
    type Batch = S::Batch;

    fn batch(&mut self, index: usize) -> Result<S::Batch, BatchError> {
        self.source.batch(index * self.n_ranks + self.rank)
    }

    fn state(&self) -> Value {
        self.source.state()
    }

    fn restore(&mut self, state: &Value) -> Result<(), BatchError> {
        self.source.restore(state)
    }
}
