//! How many broken records are too many.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::SourceError;

/// How many broken records may be passed over before reading stops with an error.
///
/// The share is looked at once [`min_records`](Self::min_records) were read, so that a broken record
/// near the start of a large file does not stop it, and again at the end whatever the number: of ten
/// records, one broken one is more than the default allows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BrokenLimit {
    /// Largest share of all records, from 0 to 1: 0.01. Exactly that share still passes.
    pub max_share: f64,
    /// Records to read before the share is looked at: 1000.
    pub min_records: u64,
    /// Largest number, if that is limited too; it is looked at from the start.
    pub max_count: Option<u64>,
    /// How many broken records are kept to be shown: 10.
    pub n_samples: usize,
}

impl Default for BrokenLimit {
    fn default() -> Self {
        Self {
            max_share: 0.01,
            min_records: 1000,
            max_count: None,
            n_samples: 10,
        }
    }
}

/// Counts whole and broken records, and keeps the first broken ones.
///
/// Blocks parsed on several threads count for themselves; [`merge`](Self::merge) in the blocks'
/// order gives what one thread would have counted, samples included.
///
/// # Examples
/// ```
/// use firebox_data::{BrokenCount, BrokenLimit, SourceOptions, Sources};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("notes.jsonl");
/// std::fs::write(&path, "{\"text\": \"Aspirin relieves pain.\"}\n{\"text\": ")?;
/// let mut count = BrokenCount::new(BrokenLimit::default());
/// for block in Sources::list([&path], SourceOptions::default())?.blocks() {
///     let block = block?;
///     let documents = block.documents().filter_map(|document| count.check(document));
///     assert_eq!(documents.count(), 1);
///     count.check_limit()?;
/// }
/// assert_eq!(count.n_broken(), 1);
/// assert!(count.check_at_end().is_err()); // Half of them is more than 1 %.
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct BrokenCount {
    limit: BrokenLimit,
    n_records: u64,
    n_broken: u64,
    /// The first broken records, as messages show them.
    samples: Vec<String>,
}

impl BrokenCount {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(limit: BrokenLimit) -> Self {
        Self {
            limit,
            n_records: 0,
            n_broken: 0,
            samples: Vec::new(),
        }
    }

    /// Counts a record; gives it back if it is whole.
    #[inline]
    pub fn check<T>(&mut self, record: Result<T, impl Display>) -> Option<T> {
        self.n_records += 1;
        match record {
            Ok(record) => Some(record),
            Err(broken) => {
                self.n_broken += 1;
                self.keep(|| broken.to_string());
                None
            }
        }
    }

    /// Adds what was counted in what comes right after.
    pub fn merge(&mut self, later: Self) {
        self.n_records += later.n_records;
        self.n_broken += later.n_broken;
        for broken in later.samples {
            self.keep(|| broken);
        }
    }

    fn keep(&mut self, broken: impl FnOnce() -> String) {
        // The first is kept in any case: the error shows it.
        if self.samples.len() < self.limit.n_samples.max(1) {
            self.samples.push(broken());
        }
    }

    /// Records so far, broken ones included.
    #[must_use]
    pub fn n_records(&self) -> u64 {
        self.n_records
    }

    /// Broken records so far.
    #[must_use]
    pub fn n_broken(&self) -> u64 {
        self.n_broken
    }

    /// The first broken records, in order: places and reasons.
    #[must_use]
    pub fn samples(&self) -> &[String] {
        &self.samples
    }

    /// Looks at the limit in the middle of the data; to be called between blocks, in their order,
    /// so that where it stops does not depend on the threads.
    ///
    /// # Errors
    /// [`SourceError::TooManyBroken`].
    pub fn check_limit(&self) -> Result<(), SourceError> {
        self.check_share(self.n_records >= self.limit.min_records)
    }

    /// Looks at the limit at the end of the data.
    ///
    /// # Errors
    /// [`SourceError::TooManyBroken`].
    pub fn check_at_end(&self) -> Result<(), SourceError> {
        self.check_share(true)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than 53 bits"
    )]
    fn check_share(&self, with_share: bool) -> Result<(), SourceError> {
        let (n_broken, n_records) = (self.n_broken as f64, self.n_records.max(1) as f64);
        let limit = &self.limit;
        let allowed = match limit.max_count {
            Some(max_count) if self.n_broken > max_count => max_count.to_string(),
            _ if with_share && n_broken > limit.max_share * n_records => {
                format!("{} % of the records", limit.max_share * 100.0)
            }
            _ => return Ok(()),
        };
        Err(SourceError::TooManyBroken {
            allowed,
            n_broken: self.n_broken,
            n_records: self.n_records,
            percent: 100.0 * n_broken / n_records,
            first: self.samples.first().cloned().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests;
