//! What cleaning did to a corpus.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::block_job::BlockDone;
use crate::decontaminate::{DecontaminateReport, EvaluationIndex};
use crate::dedup::DedupReport;
use crate::filter::RuleCounts;
use crate::source::BrokenCount;
use crate::writer::SealedChunk;

/// What became of a corpus, rule by rule. It is the same for the same files and recipe, whatever the
/// threads and interruptions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CleanReport {
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// The file that was written.
    pub output: PathBuf,
    /// Records read, broken ones included.
    pub n_records: u64,
    /// Broken records.
    pub n_broken: u64,
    /// The first broken records, with place and reason.
    pub broken: Vec<String>,
    /// Records without a text: MEDLINE citations without abstract.
    pub n_without_text: u64,
    /// What the rules did.
    pub rules: RuleCounts,
    /// What was found of evaluation sets, if they were looked for.
    pub decontaminate: Option<DecontaminateReport>,
    /// What duplicates were found, if they were looked for.
    pub dedup: Option<DedupReport>,
    /// Documents written.
    pub n_written: u64,
    /// Characters of the documents that rules and decontamination kept.
    pub lengths: Histogram,
    /// Languages of the same documents, by ISO 639-1 code.
    pub languages: BTreeMap<String, u64>,
}

/// Counts by size: of what is at least 2^(i - 1) and below 2^i in place `i`, of zeros in place 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, size: u64) {
        let place = (u64::BITS - size.leading_zeros()) as usize;
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    /// The counts; see the type.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}

/// Everything counted so far, in the order of the input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) rules: RuleCounts,
    pub(super) broken: BrokenCount,
    pub(super) n_without_text: u64,
    pub(super) decontaminate: Option<DecontaminateReport>,
    n_looked_at: u64,
    pub(super) lengths: Histogram,
    pub(super) languages: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new(
        rules: RuleCounts,
        broken: BrokenCount,
        index: Option<&EvaluationIndex>,
    ) -> Self {
        Self {
            rules,
            broken,
            n_without_text: 0,
            decontaminate: index.map(DecontaminateReport::new),
            n_looked_at: 0,
            lengths: Histogram::default(),
            languages: BTreeMap::new(),
        }
    }

    /// Adds what is next in the order of the input; gives back its documents.
    pub(super) fn add(&mut self, done: BlockDone<'_>) -> SealedChunk {
        self.rules.merge(done.rules);
        self.broken.merge(done.broken);
        self.n_without_text += done.n_skipped;
        if let Some(report) = &mut self.decontaminate {
            for found in &done.contaminations {
                report.push(self.n_looked_at, found.as_ref());
                self.n_looked_at += 1;
            }
        }
        self.lengths.merge(&done.lengths);
        for (language, n) in done.languages {
            *self.languages.entry(language.to_owned()).or_default() += n;
        }
        done.chunk
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn sizes_are_counted_by_powers_of_two() {
        let mut histogram = Histogram::default();
        for size in [0, 1, 2, 3, 4, 7, 8, 1023, 1024] {
            histogram.add(size);
        }
        assert_eq!(histogram.counts(), [1, 1, 2, 2, 1, 0, 0, 0, 0, 0, 1, 1]);
        let mut both = Histogram::default();
        both.add(0);
        both.merge(&histogram);
        assert_eq!(both.counts()[..3], [2, 1, 2]);
    }
}
