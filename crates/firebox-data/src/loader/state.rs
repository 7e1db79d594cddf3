//! Where a loader is: enough to go on with the next batch, bit for bit.

use serde::{Deserialize, Serialize};

use crate::{LoaderConfig, LoaderError};

/// States of other versions number their chunks differently.
pub(super) const STATE_VERSION: u32 = 1;

/// A place between two batches; see [`Loader::state`](crate::Loader::state).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderState {
    /// Version of this format.
    pub version: u32,
    /// How the batches are made.
    pub config: LoaderConfig,
    /// What they are made from.
    pub sources: Vec<SourceState>,
    /// Batches that were given out.
    pub n_batches: u64,
    /// The chunk that the next row is in.
    pub chunk: u64,
    /// The next row in it.
    pub row: usize,
}

/// A source, and how far it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceState {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: f64,
    /// Examples in it.
    pub n_examples: u64,
    /// Its [`fingerprint`](crate::ExampleSource::fingerprint), in hexadecimal.
    pub fingerprint: String,
    /// Examples that all ranks had taken from it where the next row's chunk begins.
    pub n_taken: u64,
    /// Whole passes over it that these are.
    pub epoch: u64,
}

impl LoaderState {
    /// Whether the sources are those that the state was saved over.
    pub(super) fn check(&self, sources: &[SourceState]) -> Result<(), LoaderError> {
        let names = |sources: &[SourceState]| {
            let names: Vec<String> = sources.iter().map(|it| format!("`{}`", it.name)).collect();
            names.join(", ")
        };
        let (expected, found) = (names(&self.sources), names(sources));
        if expected != found {
            return Err(LoaderError::OtherSources { expected, found });
        }
        let mut pairs = self.sources.iter().zip(sources);
        pairs.try_for_each(|(saved, source)| saved.check(source))
    }

    /// Whether this version can read the state.
    pub(super) fn check_version(&self) -> Result<(), LoaderError> {
        if self.version == STATE_VERSION {
            return Ok(());
        }
        Err(LoaderError::StateVersion {
            expected: STATE_VERSION,
            found: self.version,
        })
    }
}

impl SourceState {
    fn check(&self, source: &Self) -> Result<(), LoaderError> {
        let facts = |state: &Self| {
            [
                format!("{} examples", state.n_examples),
                format!("weight {}", state.weight),
                format!("contents of fingerprint {}", state.fingerprint),
            ]
        };
        let mut pairs = facts(self).into_iter().zip(facts(source));
        match pairs.find(|(expected, found)| expected != found) {
            None => Ok(()),
            Some((expected, found)) => Err(LoaderError::OtherSource {
                name: self.name.clone(),
                expected,
                found,
            }),
        }
    }
}
