//! MinHash signatures and the hashes of their bands.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::config::MinHashConfig;
use super::error::DedupError;
use super::n_grams::NGrams;
use super::permutations::Permutations;
use super::simplify::Simplifier;

/// Makes signatures; one for all threads.
///
/// # Examples
///
/// ```
/// use firebox_data::{MinHashConfig, MinHasher};
///
/// let hasher = MinHasher::new(&MinHashConfig::default())?;
/// let fire = hasher.signature("The fire was hot, and the night was cold and very long.");
/// let same = hasher.signature("The FIRE was hot and the night was cold -- and very long");
/// assert_eq!(fire.estimated_jaccard(&same), 1.0);
/// assert_eq!(hasher.band_hashes(&fire), hasher.band_hashes(&same));
/// # Ok::<(), firebox_data::DedupError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MinHasher {
    simplifier: Simplifier,
    n_grams: NGrams,
    permutations: Permutations,
    n_rows: usize,
}

/// The least hash of a document's n-grams under each permutation; empty for a text without words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    minima: Box<[u32]>,
}

/// One hash per band of a signature; empty for a text without words, which is like no other.
///
/// Two documents are candidates where the hashes of one band are equal. Different bands are equal by
/// accident with a probability of `2^-64`: in 100 million documents, once in 260 runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BandHashes {
    hashes: Box<[u64]>,
}

impl MinHasher {
    /// A hasher for signatures of this config.
    ///
    /// # Errors
    ///
    /// As [`MinHashConfig::validate`].
    pub fn new(config: &MinHashConfig) -> Result<Self, DedupError> {
        config.validate()?;
        Ok(Self {
            simplifier: Simplifier::new(&config.text),
            n_grams: NGrams::new(config.n_gram),
            permutations: Permutations::new(config.n_hashes(), config.seed),
            n_rows: config.n_rows,
        })
    }

    /// The signature of a text.
    ///
    /// A text with fewer words than an n-gram has one n-gram, all its words: it is like no text but those
    /// with the same words in the same order. (datatrove leaves such texts out.)
    #[must_use]
    pub fn signature(&self, text: &str) -> Signature {
        let hashes: Vec<u32> = self
            .n_gram_hashes(text)
            .into_iter()
            .map(|hash| (hash >> 32) as u32)
            .collect();
        if hashes.is_empty() {
            return Signature::default();
        }
        Signature {
            minima: self.permutations.minima(&hashes),
        }
    }

    /// The hashes of a signature's bands.
    #[must_use]
    pub fn band_hashes(&self, signature: &Signature) -> BandHashes {
        let hash_of = |(band, minima): (usize, &[u32])| {
            let mut bytes = Vec::with_capacity(4 * self.n_rows);
            bytes.extend(minima.iter().flat_map(|minimum| minimum.to_le_bytes()));
            xxh3_64_with_seed(&bytes, band as u64)
        };
        let bands = signature.minima.chunks_exact(self.n_rows).enumerate();
        BandHashes {
            hashes: bands.map(hash_of).collect(),
        }
    }

    /// The Jaccard similarity of two texts' sets of n-grams, from 0 to 1; 1 for two texts without words.
    #[must_use]
    pub fn jaccard(&self, left: &str, right: &str) -> f64 {
        let (left, right) = (self.n_gram_set(left), self.n_gram_set(right));
        let n_shared = left.iter().filter(|hash| right.binary_search(hash).is_ok());
        let n_shared = n_shared.count();
        let n_either = left.len() + right.len() - n_shared;
        if n_either == 0 {
            return 1.0;
        }
        n_shared as f64 / n_either as f64
    }

    fn n_gram_hashes(&self, text: &str) -> Vec<u64> {
        self.n_grams.of_text(&self.simplifier.simplify(text))
    }

    fn n_gram_set(&self, text: &str) -> Vec<u64> {
        let mut hashes = self.n_gram_hashes(text);
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }
}

impl Signature {
    pub(super) fn from_minima(minima: Vec<u32>) -> Self {
        Self {
            minima: minima.into(),
        }
    }

    /// The minima, in the order of the permutations.
    #[must_use]
    pub fn minima(&self) -> &[u32] {
        &self.minima
    }

    /// The share of minima that two signatures of one hasher agree in: an estimate of the Jaccard
    /// similarity `s` with a standard error of `sqrt(s (1 - s) / n_hashes)`. A text without words is like
    /// none.
    #[must_use]
    pub fn estimated_jaccard(&self, other: &Self) -> f64 {
        share_of_equals(&self.minima, &other.minima)
    }
}

/// The share of positions with equal numbers; 0 where there are none.
pub(super) fn share_of_equals(left: &[u32], right: &[u32]) -> f64 {
    let n_equal = left.iter().zip(right).filter(|(a, b)| a == b).count();
    let n = left.len().max(right.len()).max(1);
    n_equal as f64 / n as f64
}

impl BandHashes {
    pub(super) fn from_slice(hashes: &[u64]) -> Self {
        Self {
            hashes: hashes.into(),
        }
    }

    /// The hashes, in the order of the bands.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        &self.hashes
    }
}

#[cfg(test)]
mod tests;
