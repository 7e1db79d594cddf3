//! The n-grams of evaluation sets, and the documents that hold them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::config::DecontaminateConfig;
use super::error::DecontaminateError;
use crate::dedup::n_grams::{NGrams, word_hashes};
use crate::dedup::simplify::{SimpleText, Simplifier};
use crate::reader::read_records;
use crate::record::Record;

/// Bits of the filter per n-gram: one n-gram in sixteen passes it by accident.
const FILTER_BITS_PER_N_GRAM: usize = 16;

/// The n-grams of evaluation sets; one for all threads.
///
/// # Examples
///
/// ```
/// use firebox_data::{DecontaminateConfig, EvaluationIndex};
///
/// let mut index = EvaluationIndex::new(&DecontaminateConfig::default())?;
/// index.add("trivia.jsonl", 7, "What is the boiling point of pure water at the level of the sea?")?;
/// let text = "Q: what is the boiling point of pure water at the level of the sea? A: 100 C";
/// let found = index.find(text).expect("the question is in the text");
/// assert_eq!((found.set.to_str(), found.record), (Some("trivia.jsonl"), 7));
/// assert_eq!(found.n_gram, "what is the boiling point of pure water at the level of the");
/// # Ok::<(), firebox_data::DecontaminateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EvaluationIndex {
    simplifier: Simplifier,
    n_gram: usize,
    min_n_gram: usize,
    min_matches: usize,
    /// By length: all of `n_gram` words, and the whole records that are shorter.
    lengths: BTreeMap<usize, NGrams>,
    n_grams: FxHashMap<u64, Origin>,
    filter: Filter,
    sets: Vec<PathBuf>,
    records: Vec<EvaluationRecord>,
    n_too_short: u64,
}

/// Where an n-gram comes from, and a second hash of it.
#[derive(Debug, Clone, Copy)]
struct Origin {
    record: u32,
    check: u32,
}

#[derive(Debug, Clone, Copy)]
struct EvaluationRecord {
    set: u32,
    number: u64,
}

/// A document's first n-gram of an evaluation set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contamination<'i> {
    /// The file of the evaluation set.
    pub set: &'i Path,
    /// The record in it, from 1.
    pub record: u64,
    /// The n-gram, simplified.
    pub n_gram: String,
    /// How many n-grams of evaluation sets the document has.
    pub n_matches: u64,
}

impl EvaluationIndex {
    /// Starts without n-grams.
    ///
    /// # Errors
    ///
    /// As [`DecontaminateConfig::validate`].
    pub fn new(config: &DecontaminateConfig) -> Result<Self, DecontaminateError> {
        config.validate()?;
        Ok(Self {
            simplifier: Simplifier::new(&config.text),
            n_gram: config.n_gram,
            min_n_gram: config.min_n_gram,
            min_matches: config.min_matches,
            lengths: BTreeMap::new(),
            n_grams: FxHashMap::default(),
            filter: Filter::default(),
            sets: Vec::new(),
            records: Vec::new(),
            n_too_short: 0,
        })
    }

    /// Reads all sets of [`DecontaminateConfig::against`]: documents with their titles, and the messages of
    /// conversations, one record after the other.
    ///
    /// # Errors
    ///
    /// As [`DecontaminateConfig::validate`], and if a set cannot be read.
    pub fn read(config: &DecontaminateConfig) -> Result<Self, DecontaminateError> {
        let mut index = Self::new(config)?;
        for path in &config.against {
            let unreadable = |source| DecontaminateError::Read {
                path: path.clone(),
                source: Box::new(source),
            };
            let records = read_records(path).map_err(unreadable)?;
            for (number, record) in (1..).zip(records) {
                let text = evaluation_text(&record.map_err(unreadable)?);
                index.add(path, number, &text)?;
            }
        }
        Ok(index)
    }

    /// Adds a record of an evaluation set: the question and the answer, one after the other.
    ///
    /// # Errors
    ///
    /// [`DecontaminateError::TooManyRecords`] past 2^32 - 1 records.
    pub fn add(
        &mut self,
        set: impl AsRef<Path>,
        number: u64,
        text: &str,
    ) -> Result<(), DecontaminateError> {
        let text = self.simplifier.simplify(text);
        let n = self.n_gram.min(text.n_tokens());
        if n < self.min_n_gram {
            self.n_too_short += 1;
            return Ok(());
        }
        let record = self.add_record(set.as_ref(), number)?;
        let n_grams = self.lengths.entry(n).or_insert_with(|| NGrams::new(n));
        let hashes: Vec<u64> = n_grams.of_words(&word_hashes(&text)).collect();
        for (start, &hash) in hashes.iter().enumerate() {
            let check = check_hash(&text, start, n);
            // The record that had an n-gram first is the one that is named.
            let origin = Origin { record, check };
            self.n_grams.entry(hash).or_insert(origin);
        }
        let n_needed = self.n_grams.len();
        if self.filter.n_bits() < FILTER_BITS_PER_N_GRAM * n_needed {
            self.filter = Filter::of(self.n_grams.keys(), 2 * n_needed);
        } else {
            hashes.iter().for_each(|&hash| self.filter.insert(hash));
        }
        Ok(())
    }

    fn add_record(&mut self, set: &Path, number: u64) -> Result<u32, DecontaminateError> {
        if self.sets.last().is_none_or(|last| last != set) {
            self.sets.push(set.to_owned());
        }
        let too_many = |_| DecontaminateError::TooManyRecords {
            path: set.to_owned(),
            limit: u32::MAX,
        };
        let record = u32::try_from(self.records.len()).map_err(too_many)?;
        self.records.push(EvaluationRecord {
            set: self.sets.len() as u32 - 1,
            number,
        });
        Ok(record)
    }

    /// What a document has of the evaluation sets, if that is enough to call it contaminated.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Contamination<'_>> {
        let text = self.simplifier.simplify(text);
        let words = word_hashes(&text);
        let mut first: Option<(usize, usize, Origin)> = None;
        let mut n_matches = 0;
        for (&n, n_grams) in &self.lengths {
            for (start, hash) in n_grams.of_words(&words).enumerate() {
                if !self.filter.may_hold(hash) {
                    continue;
                }
                let found = self.n_grams.get(&hash);
                let Some(origin) = found.filter(|o| o.check == check_hash(&text, start, n)) else {
                    continue;
                };
                n_matches += 1;
                if first.is_none_or(|(earliest, ..)| start < earliest) {
                    first = Some((start, n, *origin));
                }
            }
        }
        let (start, n, origin) = first.filter(|_| n_matches >= self.min_matches)?;
        let record = self.records[origin.record as usize];
        Some(Contamination {
            set: &self.sets[record.set as usize],
            record: record.number,
            n_gram: text.excerpt(start, start + n),
            n_matches: n_matches as u64,
        })
    }

    /// How many different n-grams there are.
    #[must_use]
    pub fn n_n_grams(&self) -> u64 {
        self.n_grams.len() as u64
    }

    /// How many evaluation records are looked for.
    #[must_use]
    pub fn n_records(&self) -> u64 {
        self.records.len() as u64
    }

    /// How many evaluation records have too few words to be looked for.
    #[must_use]
    pub fn n_too_short(&self) -> u64 {
        self.n_too_short
    }
}

/// A second hash, of the n-gram's text, so that two n-grams are taken for one with `2^-96`.
fn check_hash(text: &SimpleText, start: usize, n: usize) -> u32 {
    (xxh3_64(text.excerpt(start, start + n).as_bytes()) >> 32) as u32
}

fn evaluation_text(record: &Record) -> String {
    match record {
        Record::Text(document) => document.training_text(),
        Record::Chat(messages) => {
            let contents: Vec<&str> = messages.iter().map(|m| m.content.as_str()).collect();
            contents.join("\n")
        }
    }
}

/// One bit for each n-gram: almost every n-gram of a document is told apart without the table.
#[derive(Debug, Clone, Default)]
struct Filter {
    words: Vec<u64>,
}

impl Filter {
    fn of<'h>(hashes: impl Iterator<Item = &'h u64>, n_expected: usize) -> Self {
        let n_bits = (n_expected * FILTER_BITS_PER_N_GRAM).next_power_of_two();
        let mut filter = Self {
            words: vec![0; n_bits.div_ceil(64)],
        };
        for &hash in hashes {
            filter.insert(hash);
        }
        filter
    }

    fn n_bits(&self) -> usize {
        64 * self.words.len()
    }

    fn insert(&mut self, hash: u64) {
        let (word, bit) = self.place(hash);
        self.words[word] |= bit;
    }

    fn may_hold(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.words[word] & bit != 0
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        let word = (hash >> 6) as usize & (self.words.len() - 1);
        (word, 1 << (hash & 63))
    }
}

#[cfg(test)]
mod tests;
