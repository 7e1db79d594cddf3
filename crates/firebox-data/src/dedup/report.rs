//! What deduplication tells about its work.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clusters::{Clusters, Duplicate};
use super::config::{CheckConfig, DedupConfig};
use super::error::DedupError;
use super::min_hash::MinHasher;

/// How many characters of a text a report shows.
const SHOWN_CHARS: usize = 160;

/// Counts, cluster sizes, and how alike merged documents really are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DedupReport {
    /// Documents read.
    pub n_documents: u64,
    /// Documents that stay.
    pub n_kept: u64,
    /// Documents dropped because an equal text stays.
    pub n_exact: u64,
    /// Documents dropped because a similar text stays.
    pub n_near: u64,
    /// Clusters of two documents or more.
    pub n_clusters: u64,
    /// How many clusters there are of each size.
    pub cluster_sizes: BTreeMap<u64, u64>,
    /// Candidates that were not merged, counted once a band.
    pub n_rejected: u64,
    /// Merged pairs whose texts were compared.
    pub checked: Option<CheckedPairs>,
}

/// Merged pairs, drawn at random, whose texts were compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckedPairs {
    /// How many pairs.
    pub n_pairs: u64,
    /// The limit under which a merge counts as false.
    pub false_merge_below: f64,
    /// Pairs with a smaller Jaccard similarity.
    pub n_false_merges: u64,
    /// The mean Jaccard similarity; 0 without pairs.
    pub mean_jaccard: f64,
    /// Pairs with a Jaccard similarity from 0 to 0.1, from 0.1 to 0.2, and so on; 1 is in the last.
    pub jaccard_tenths: [u64; 10],
    /// The least similar pairs.
    pub shown: Vec<CheckedPair>,
}

/// A dropped document beside the one that stays in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckedPair {
    /// The number of the dropped document, from 0.
    pub document: u64,
    /// The number of the one that stays.
    pub kept: u64,
    /// The Jaccard similarity of their n-grams.
    pub jaccard: f64,
    /// The start of the dropped text.
    pub dropped_text: String,
    /// The start of the text that stays.
    pub kept_text: String,
}

impl DedupReport {
    /// The counts of these clusters.
    #[must_use]
    pub fn new(clusters: &Clusters) -> Self {
        let cluster_sizes = clusters.sizes();
        let (n_documents, n_kept) = (clusters.n_documents(), clusters.n_kept());
        Self {
            n_documents,
            n_kept,
            n_exact: clusters.n_exact(),
            n_near: n_documents - n_kept - clusters.n_exact(),
            n_clusters: cluster_sizes.values().sum(),
            cluster_sizes,
            n_rejected: clusters.n_rejected(),
            checked: None,
        }
    }

    /// Compares the texts of [`Clusters::sample`]. `text_of` gives a document's text by its number; pairs
    /// of which it does not have both are left out.
    ///
    /// # Errors
    ///
    /// As [`DedupConfig::validate`].
    pub fn check<'t>(
        &mut self,
        config: &DedupConfig,
        sample: &[Duplicate],
        text_of: impl Fn(u64) -> Option<Cow<'t, str>>,
    ) -> Result<(), DedupError> {
        config.validate()?;
        let hasher = MinHasher::new(&config.near)?;
        let pairs = sample.iter().filter_map(|pair| {
            let (dropped, kept) = (text_of(pair.document)?, text_of(pair.kept)?);
            Some(CheckedPair {
                document: pair.document,
                kept: pair.kept,
                jaccard: hasher.jaccard(&dropped, &kept),
                dropped_text: start_of(&dropped),
                kept_text: start_of(&kept),
            })
        });
        self.checked = Some(CheckedPairs::new(&config.check, pairs.collect()));
        Ok(())
    }
}

impl CheckedPairs {
    fn new(config: &CheckConfig, mut pairs: Vec<CheckedPair>) -> Self {
        let mut jaccard_tenths = [0; 10];
        for pair in &pairs {
            jaccard_tenths[((10.0 * pair.jaccard) as usize).min(9)] += 1;
        }
        let is_false = |pair: &&CheckedPair| pair.jaccard < config.false_merge_below;
        let sum: f64 = pairs.iter().map(|pair| pair.jaccard).sum();
        let n_pairs = pairs.len();
        let n_false_merges = pairs.iter().filter(is_false).count() as u64;
        pairs.sort_by(|a, b| {
            let by_jaccard = a.jaccard.total_cmp(&b.jaccard);
            by_jaccard.then(a.document.cmp(&b.document))
        });
        pairs.truncate(config.n_shown);
        Self {
            n_pairs: n_pairs as u64,
            false_merge_below: config.false_merge_below,
            n_false_merges,
            mean_jaccard: sum / n_pairs.max(1) as f64,
            jaccard_tenths,
            shown: pairs,
        }
    }
}

fn start_of(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests;
