//! Which documents are dropped, and for which.

use std::collections::{BTreeMap, BinaryHeap};

use rustc_hash::FxHashMap;

use super::config::CheckConfig;
use super::n_grams::mix;

/// The documents of a corpus, each with the one that is kept for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    kept: Vec<u32>,
    n_exact: u64,
    n_rejected: u64,
}

/// A document that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Duplicate {
    /// Its number in the input, from 0.
    pub document: u64,
    /// The number of the document that stays in its place.
    pub kept: u64,
}

impl Clusters {
    /// `roots` has the first document of each document's cluster.
    pub(super) fn new(roots: Vec<u32>, ranks: &[u32], n_exact: u64, n_rejected: u64) -> Self {
        let kept = if ranks.is_empty() {
            roots
        } else {
            best_of_clusters(roots, ranks)
        };
        Self {
            kept,
            n_exact,
            n_rejected,
        }
    }

    /// How many documents there were.
    #[must_use]
    pub fn n_documents(&self) -> u64 {
        self.kept.len() as u64
    }

    /// How many documents stay.
    #[must_use]
    pub fn n_kept(&self) -> u64 {
        self.n_documents() - self.dropped().count() as u64
    }

    /// How many documents have a text that is equal to that of another one, which is not counted.
    #[must_use]
    pub fn n_exact(&self) -> u64 {
        self.n_exact
    }

    /// How many times a candidate was not merged because it failed the check; a pair counts once for each
    /// band in which it is found.
    #[must_use]
    pub fn n_rejected(&self) -> u64 {
        self.n_rejected
    }

    /// The document that stays in place of this one, itself if it stays.
    ///
    /// # Panics
    ///
    /// If there is no such document.
    #[must_use]
    pub fn kept_for(&self, document: u64) -> u64 {
        u64::from(self.kept[document as usize])
    }

    /// Whether a document is dropped.
    ///
    /// # Panics
    ///
    /// If there is no such document.
    #[must_use]
    pub fn is_dropped(&self, document: u64) -> bool {
        self.kept_for(document) != document
    }

    /// The documents that are dropped, in the order of the input.
    pub fn dropped(&self) -> impl Iterator<Item = Duplicate> {
        self.kept.iter().enumerate().filter_map(|(i, &kept)| {
            let (document, kept) = (i as u64, u64::from(kept));
            (document != kept).then_some(Duplicate { document, kept })
        })
    }

    /// How many clusters there are of each size, from two documents up.
    #[must_use]
    pub fn sizes(&self) -> BTreeMap<u64, u64> {
        let mut n_dropped_for = FxHashMap::<u64, u64>::default();
        for duplicate in self.dropped() {
            *n_dropped_for.entry(duplicate.kept).or_default() += 1;
        }
        let mut sizes = BTreeMap::new();
        for n_dropped in n_dropped_for.into_values() {
            *sizes.entry(n_dropped + 1).or_default() += 1;
        }
        sizes
    }

    /// A random choice of dropped documents, in the order of the input: the same for the same seed.
    #[must_use]
    pub fn sample(&self, config: &CheckConfig) -> Vec<Duplicate> {
        let seed = mix(config.seed);
        let mut drawn = BinaryHeap::new();
        for duplicate in self.dropped() {
            drawn.push((mix(duplicate.document ^ seed), duplicate));
            if drawn.len() > config.n_pairs {
                drawn.pop();
            }
        }
        let mut sample: Vec<Duplicate> = drawn.into_iter().map(|(_, drawn)| drawn).collect();
        sample.sort_unstable();
        sample
    }
}

/// For each document, the one of its cluster with the highest rank, and the first of those.
fn best_of_clusters(mut roots: Vec<u32>, ranks: &[u32]) -> Vec<u32> {
    let mut best: Vec<u32> = roots.clone();
    for (document, &root) in roots.iter().enumerate() {
        let so_far = &mut best[root as usize];
        if ranks[document] > ranks[*so_far as usize] {
            *so_far = document as u32;
        }
    }
    for root in &mut roots {
        *root = best[*root as usize];
    }
    roots
}

#[cfg(test)]
mod tests;
