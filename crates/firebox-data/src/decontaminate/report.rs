//! What decontamination tells about its work.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::index::{Contamination, EvaluationIndex};

/// How many contaminated documents a report names, of each evaluation set.
const N_SHOWN: usize = 10;

/// Counts of contaminated documents by evaluation set, with examples.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DecontaminateReport {
    /// Evaluation records that were looked for.
    pub n_records: u64,
    /// Evaluation records with too few words to be looked for.
    pub n_too_short: u64,
    /// Different n-grams of the evaluation records.
    pub n_n_grams: u64,
    /// Documents looked at.
    pub n_documents: u64,
    /// Documents that hold parts of an evaluation set.
    pub n_contaminated: u64,
    /// By evaluation set.
    pub sets: BTreeMap<PathBuf, ContaminatedBySet>,
}

/// The documents that hold parts of one evaluation set before those of any other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContaminatedBySet {
    /// How many.
    pub n_documents: u64,
    /// The first of them.
    pub shown: Vec<ContaminatedDocument>,
}

/// A document with what it has of an evaluation set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContaminatedDocument {
    /// The document's number in the input, from 0.
    pub document: u64,
    /// The evaluation record, from 1.
    pub record: u64,
    /// The first n-gram that they share, simplified.
    pub n_gram: String,
    /// How many n-grams of evaluation sets the document has.
    pub n_matches: u64,
}

impl DecontaminateReport {
    /// A report without documents.
    #[must_use]
    pub fn new(index: &EvaluationIndex) -> Self {
        Self {
            n_records: index.n_records(),
            n_too_short: index.n_too_short(),
            n_n_grams: index.n_n_grams(),
            ..Self::default()
        }
    }

    /// Adds a document; to be called in the order of the input.
    pub fn push(&mut self, document: u64, found: Option<&Contamination<'_>>) {
        self.n_documents += 1;
        let Some(found) = found else { return };
        self.n_contaminated += 1;
        let set = self.sets.entry(found.set.to_owned()).or_default();
        set.n_documents += 1;
        if set.shown.len() < N_SHOWN {
            set.shown.push(ContaminatedDocument {
                document,
                record: found.record,
                n_gram: found.n_gram.clone(),
                n_matches: found.n_matches,
            });
        }
    }
}

#[cfg(test)]
mod tests;
