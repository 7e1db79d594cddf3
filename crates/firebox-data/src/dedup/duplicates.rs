//! From fingerprints, in the order of the input, to clusters.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::clusters::Clusters;
use super::config::{DedupConfig, Find, KeepRule};
use super::error::DedupError;
use super::fingerprint::Fingerprint;
use super::signatures::Signatures;
use super::spill::{Key, KeyedDocuments, Sorted};
use super::union_find::UnionFind;

/// A document is compared with this many of those that share its band hash and are unlike each other.
const MAX_LEADERS: usize = 16;

/// Collects the fingerprints of a corpus and finds its duplicates.
///
/// Each hash (that of the whole text, and one a band) is sorted together with the document's number;
/// documents with equal hashes are joined, and so are those joined to them. With a folder, memory stays
/// within [`DedupConfig::memory_bytes`] and the bytes per document named there, and the rest waits in
/// unnamed files of that folder: 188 bytes a document with the defaults. The clusters are the same with
/// and without a folder, and with any number of threads.
///
/// # Examples
///
/// ```
/// use firebox_data::{DedupConfig, DocumentFacts, Duplicates, Fingerprinter};
///
/// let config = DedupConfig::default();
/// let fingerprinter = Fingerprinter::new(&config)?;
/// let mut duplicates = Duplicates::new(&config, None)?;
/// for text in ["Water is wet.", "Fire is hot.", "water  is wet."] {
///     duplicates.push(&fingerprinter.fingerprint(text), DocumentFacts::default())?;
/// }
/// let clusters = duplicates.finish()?;
/// assert_eq!(clusters.kept_for(2), 0);
/// assert_eq!(clusters.n_kept(), 2);
/// # Ok::<(), firebox_data::DedupError>(())
/// ```
#[derive(Debug)]
pub struct Duplicates {
    config: DedupConfig,
    folder: Option<PathBuf>,
    n_documents: u32,
    exact: KeyedDocuments<u128>,
    bands: Vec<KeyedDocuments<u64>>,
    signatures: Option<Signatures>,
    /// What the rule for keeping prefers, the more the better; empty if it is the first.
    ranks: Vec<u32>,
    waiting_bytes: u64,
}

/// What the rule for keeping looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DocumentFacts {
    /// Length of the text, in bytes.
    pub n_bytes: u64,
    /// Year of publication.
    pub year: Option<u16>,
}

impl Duplicates {
    /// Starts without documents. With `spill_folder`, memory is bounded.
    ///
    /// # Errors
    ///
    /// As [`DedupConfig::validate`].
    pub fn new(config: &DedupConfig, spill_folder: Option<&Path>) -> Result<Self, DedupError> {
        config.validate()?;
        let n_bands = match config.find {
            Find::Exact => 0,
            Find::Near => config.near.n_bands,
        };
        let checks = config.find == Find::Near && config.near.min_estimated_jaccard > 0.0;
        Ok(Self {
            config: config.clone(),
            folder: spill_folder.map(Path::to_owned),
            n_documents: 0,
            exact: KeyedDocuments::new(),
            bands: (0..n_bands).map(|_| KeyedDocuments::new()).collect(),
            signatures: checks.then(|| Signatures::new(config.near.n_hashes())),
            ranks: Vec::new(),
            waiting_bytes: 0,
        })
    }

    /// Adds the next document of the input, and returns its number, from 0.
    ///
    /// # Errors
    ///
    /// If the fingerprint is of another config, if there are 2^32 - 1 documents, or if the spill folder
    /// cannot be written.
    pub fn push(
        &mut self,
        fingerprint: &Fingerprint,
        facts: DocumentFacts,
    ) -> Result<u64, DedupError> {
        self.check_config(fingerprint)?;
        let document = self.n_documents;
        if document == u32::MAX {
            return Err(DedupError::TooManyDocuments {
                n_documents: u64::from(document),
                limit: u64::from(u32::MAX),
            });
        }
        self.exact.push(fingerprint.exact, document);
        let hashes = fingerprint.bands.as_slice();
        for (band, &hash) in self.bands.iter_mut().zip(hashes) {
            band.push(hash, document);
        }
        self.waiting_bytes += KeyedDocuments::<u128>::WAITING_BYTES
            + hashes.len() as u64 * KeyedDocuments::<u64>::WAITING_BYTES;
        if let Some(signatures) = &mut self.signatures {
            let signature = fingerprint.signature.as_ref();
            signatures.push(signature.map_or(&[], |signature| signature.minima()));
            self.waiting_bytes += 4 * self.config.near.n_hashes() as u64;
        }
        if self.config.keep != KeepRule::First {
            self.ranks.push(rank(self.config.keep, facts));
        }
        self.n_documents += 1;
        // A growing vector is up to twice as long as what it holds, and so is its copy as it grows.
        if self.folder.is_some() && 3 * self.waiting_bytes > self.config.memory_bytes {
            self.spill()?;
        }
        Ok(u64::from(document))
    }

    fn check_config(&self, fingerprint: &Fingerprint) -> Result<(), DedupError> {
        let n_bands = fingerprint.bands.as_slice().len();
        let signs = fingerprint.signature.is_some();
        let right_bands = n_bands == 0 || n_bands == self.bands.len();
        if right_bands && signs == self.signatures.is_some() {
            return Ok(());
        }
        let describe = |n_bands: usize, signs: bool| {
            let signature = if signs { "a signature" } else { "no signature" };
            format!("{n_bands} bands and {signature}")
        };
        Err(DedupError::OtherConfig {
            document: u64::from(self.n_documents),
            expected: describe(self.bands.len(), self.signatures.is_some()),
            found: describe(n_bands, signs),
        })
    }

    fn spill(&mut self) -> Result<(), DedupError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        self.exact.spill(folder)?;
        self.bands
            .par_iter_mut()
            .try_for_each(|band| band.spill(folder))?;
        if let Some(signatures) = &mut self.signatures {
            signatures.spill(folder)?;
        }
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Finds the clusters; candidates are merged as the config says.
    ///
    /// # Errors
    ///
    /// If the spill folder cannot be read or written.
    pub fn finish(self) -> Result<Clusters, DedupError> {
        self.finish_checked(|_, _| true)
    }

    /// Finds the clusters; of the candidates that the config lets through, those are merged that `same`
    /// says are the same, the earlier document first: for instance, those whose
    /// [`jaccard`](crate::MinHasher::jaccard) is high enough, where the texts are at hand.
    ///
    /// Documents with equal texts are not asked about. Among documents with one band hash, a document is
    /// compared with the first, and then with those that were like none before them, up to sixteen; it
    /// joins the first that is the same. `same` is called on many threads, and must depend on nothing but
    /// the two documents.
    ///
    /// # Errors
    ///
    /// If the spill folder cannot be read or written.
    pub fn finish_checked(
        self,
        same: impl Fn(u64, u64) -> bool + Sync,
    ) -> Result<Clusters, DedupError> {
        let sets = UnionFind::new(self.n_documents);
        let folder = self.folder.unwrap_or_default();
        let n_at_once = rayon::current_num_threads() as u64 + 1;
        let buffer_bytes = self.config.memory_bytes / n_at_once;
        let (signatures, least) = (&self.signatures, self.config.near.min_estimated_jaccard);

        let joined = AtomicU64::new(0);
        let sorted = self.exact.into_sorted(&folder, buffer_bytes)?;
        join_equal_keys(sorted, |first, other| {
            joined.fetch_add(u64::from(sets.join(first, other)), Ordering::Relaxed);
            Ok(true)
        })?;
        let n_rejected = AtomicU64::new(0);
        self.bands.into_par_iter().try_for_each(|band| {
            let sorted = band.into_sorted(&folder, buffer_bytes)?;
            join_equal_keys(sorted, |first, other| {
                let estimate = signatures.as_ref().map_or(Ok(1.0), |signatures| {
                    signatures.estimated_jaccard(first, other)
                })?;
                let merged = estimate >= least && same(u64::from(first), u64::from(other));
                if merged {
                    sets.join(first, other);
                } else {
                    n_rejected.fetch_add(1, Ordering::Relaxed);
                }
                Ok(merged)
            })
        })?;
        Ok(Clusters::new(
            sets.into_roots(),
            &self.ranks,
            joined.into_inner(),
            n_rejected.into_inner(),
        ))
    }
}

/// Offers each document to the leaders of those with the same key, until one takes it.
fn join_equal_keys<K: Key>(
    mut sorted: Sorted<K>,
    mut join: impl FnMut(u32, u32) -> Result<bool, DedupError>,
) -> Result<(), DedupError> {
    let mut leaders: Vec<u32> = Vec::with_capacity(MAX_LEADERS);
    let mut last_key = None;
    while let Some((key, document)) = sorted.next()? {
        if last_key != Some(key) {
            last_key = Some(key);
            leaders.clear();
        }
        let mut taken = false;
        for &leader in &leaders {
            taken = join(leader, document)?;
            if taken {
                break;
            }
        }
        if !taken && leaders.len() < MAX_LEADERS {
            leaders.push(document);
        }
    }
    Ok(())
}

/// What a rule prefers, the more the better.
fn rank(keep: KeepRule, facts: DocumentFacts) -> u32 {
    match keep {
        KeepRule::First => 0,
        KeepRule::Longest => u32::try_from(facts.n_bytes).unwrap_or(u32::MAX),
        KeepRule::Newest => facts.year.map_or(0, |year| u32::from(year) + 1),
    }
}

#[cfg(test)]
mod tests;
