//! Where examples come from: anything that has them by number.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use crate::Example;
use crate::error::Source;

/// Examples by index: a list in memory, documents or blocks of token shards, or a source of one's
/// own. Loading an example must not depend on what was loaded before.
pub trait ExampleSource: Send + Sync {
    /// How many examples there are.
    fn n_examples(&self) -> usize;

    /// The example at an index below [`n_examples`](Self::n_examples).
    ///
    /// # Errors
    /// Whatever keeps the source from giving it.
    fn example(&self, index: usize) -> Result<Example, Source>;

    /// A number that changes when the examples do, so that a saved state is not resumed over others.
    fn fingerprint(&self) -> u64;
}

impl ExampleSource for Vec<Example> {
    fn n_examples(&self) -> usize {
        self.len()
    }

    fn example(&self, index: usize) -> Result<Example, Source> {
        let n_examples = self.len();
        self.get(index)
            .cloned()
            .ok_or_else(|| format!("expected an index below {n_examples}, found {index}").into())
    }

    fn fingerprint(&self) -> u64 {
        let mut hash = Xxh3::new();
        for example in self {
            hash.update(&(example.input_ids.len() as u64).to_le_bytes());
            for (id, label) in example.input_ids.iter().zip(&example.labels) {
                hash.update(&id.to_le_bytes());
                hash.update(&label.to_le_bytes());
            }
        }
        hash.digest()
    }
}

/// A source with its name and its share of the examples.
#[derive(Clone)]
pub struct WeightedSource {
    /// What saved states and errors call it.
    pub name: String,
    /// Its share, relative to the other sources', in examples (not tokens).
    pub weight: f64,
    /// The examples.
    pub examples: Arc<dyn ExampleSource>,
}

impl WeightedSource {
    /// A source with a name and a weight.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        weight: f64,
        examples: impl ExampleSource + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            weight,
            examples: Arc::new(examples),
        }
    }
}

impl std::fmt::Debug for WeightedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeightedSource")
            .field("name", &self.name)
            .field("weight", &self.weight)
            .field("n_examples", &self.examples.n_examples())
            .finish()
    }
}
