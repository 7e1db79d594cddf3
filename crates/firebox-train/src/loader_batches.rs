//! The data pipeline's loader as a source of batches.

use firebox_data::{
    Loader, LoaderConfig, LoaderError, LoaderState, PackedBatch, Prefetch, WeightedSource,
};
use serde_json::Value;

use crate::{batch::BatchSource, error::BatchError};

/// The batches of a [`Loader`], which may stream a corpus that is larger than memory, mix several and
/// pack documents into rows. Its place is part of every checkpoint, so that a resumed run gets the batches
/// that the unbroken one would have had.
///
/// # Examples
///
/// ```
/// use firebox_data::{
///     Example, LoaderConfig, Order, Prefetch, RankShard, RowLayout, Truncation, WeightedSource,
/// };
/// use firebox_train::{BatchSource, LoaderBatches};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let examples: Vec<Example> = (0..9).map(|id| Example::from_ids(vec![id; 3])).collect();
/// let config = LoaderConfig {
///     batch_size: 2,
///     max_len: 8,
///     pad_id: 0,
///     layout: RowLayout::Packed { window_examples: 9 },
///     truncation: Truncation::KeepStart,
///     order: Order::Shuffled { seed: 0 },
///     shard: RankShard::default(),
///     n_examples: None,
/// };
/// let sources = vec![WeightedSource::new("notes", 1.0, examples)];
/// let mut batches = LoaderBatches::new(sources, config, Prefetch::OFF)?;
/// let first = batches.batch(0)?;
/// let state = batches.state();
/// let second = batches.batch(1)?;
/// batches.restore(&state)?;
/// assert_eq!(batches.batch(1)?, second);
/// assert_eq!(first.input_ids.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LoaderBatches {
    sources: Vec<WeightedSource>,
    prefetch: Prefetch,
    loader: Loader,
    /// The batch that the loader gives next.
    next: usize,
}

impl LoaderBatches {
    /// A loader at its first batch.
    ///
    /// # Errors
    ///
    /// As [`Loader::new`].
    pub fn new(
        sources: Vec<WeightedSource>,
        config: LoaderConfig,
        prefetch: Prefetch,
    ) -> Result<Self, LoaderError> {
        Ok(Self {
            loader: Loader::new(sources.clone(), config, prefetch)?,
            sources,
            prefetch,
            next: 0,
        })
    }

    /// The loader, with its counts.
    #[must_use]
    pub fn loader(&self) -> &Loader {
        &self.loader
    }
}

impl BatchSource for LoaderBatches {
    type Batch = PackedBatch;

    fn batch(&mut self, index: usize) -> Result<PackedBatch, BatchError> {
        if index != self.next {
            let next = self.next;
            return Err(format!(
                "expected batch {next}, the loader's next, found {index} (hint: a loader goes forward only)"
            )
            .into());
        }
        let batch = self.loader.next().ok_or_else(|| {
            let limit = "expected a batch, found the end of the loader's `n_examples` (hint: leave it out, or run fewer steps)";
            BatchError::from(limit)
        })??;
        self.next += 1;
        Ok(batch)
    }

    fn state(&self) -> Value {
        // Strings, numbers and lists: nothing that JSON does not have.
        serde_json::to_value(self.loader.state()).unwrap_or_default()
    }

    fn restore(&mut self, state: &Value) -> Result<(), BatchError> {
        let state: LoaderState = serde_json::from_value(state.clone())?;
        let (found, expected) = (self.loader.state().config, state.config);
        if found != expected {
            return Err(format!("expected a loader of {expected:?}, found {found:?}").into());
        }
        self.loader = Loader::resume(self.sources.clone(), &state, self.prefetch)?;
        self.next = usize::try_from(state.n_batches)?;
        Ok(())
    }
}
