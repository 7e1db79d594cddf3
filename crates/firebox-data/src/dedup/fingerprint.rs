//! All that deduplication keeps of a document.

use xxhash_rust::xxh3::xxh3_128;

use super::config::{DedupConfig, Find};
use super::error::DedupError;
use super::min_hash::{BandHashes, MinHasher, Signature};
use super::simplify::Simplifier;

/// Makes fingerprints; one for all threads.
#[derive(Debug, Clone)]
pub struct Fingerprinter {
    exact: Simplifier,
    near: Option<MinHasher>,
    keeps_signature: bool,
}

/// What stands for a document while duplicates are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The xxh3 hash of the simplified text: equal texts have equal hashes, and different ones have equal
    /// hashes with a probability of `2^-128`. Texts without words are equal.
    pub exact: u128,
    /// The hashes of the MinHash bands; empty if only equal texts are looked for.
    pub bands: BandHashes,
    /// The signature, if candidates are to be checked by it.
    pub signature: Option<Signature>,
}

impl Fingerprinter {
    /// What makes the fingerprints that [`Duplicates`](super::Duplicates) of the same config takes.
    ///
    /// # Errors
    ///
    /// As [`DedupConfig::validate`].
    pub fn new(config: &DedupConfig) -> Result<Self, DedupError> {
        config.validate()?;
        let near = match config.find {
            Find::Exact => None,
            Find::Near => Some(MinHasher::new(&config.near)?),
        };
        Ok(Self {
            exact: Simplifier::new(&config.exact_text),
            near,
            keeps_signature: config.near.min_estimated_jaccard > 0.0,
        })
    }

    /// The fingerprint of a text.
    #[must_use]
    pub fn fingerprint(&self, text: &str) -> Fingerprint {
        let exact = xxh3_128(&self.exact.simplify(text).bytes);
        let Some(near) = &self.near else {
            return Fingerprint {
                exact,
                bands: BandHashes::default(),
                signature: None,
            };
        };
        let signature = near.signature(text);
        Fingerprint {
            exact,
            bands: near.band_hashes(&signature),
            signature: self.keeps_signature.then_some(signature),
        }
    }
}

impl Fingerprint {
    /// Appends its bytes, for [`read_from`](Self::read_from).
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        out.extend(self.exact.to_le_bytes());
        let bands = self.bands.as_slice();
        out.extend((bands.len() as u32).to_le_bytes());
        out.extend(bands.iter().flat_map(|hash| hash.to_le_bytes()));
        let minima = self.signature.as_ref().map(Signature::minima);
        out.push(u8::from(minima.is_some()));
        out.extend(
            minima
                .unwrap_or(&[])
                .iter()
                .flat_map(|hash| hash.to_le_bytes()),
        );
    }

    /// Reads what [`append_to`](Self::append_to) wrote; none if the bytes are others.
    pub(crate) fn read_from(bytes: &[u8]) -> Option<Self> {
        let (exact, bytes) = bytes.split_first_chunk()?;
        let (n_bands, bytes) = bytes.split_first_chunk()?;
        let n_bands = u32::from_le_bytes(*n_bands) as usize;
        let (bands, bytes) = bytes.split_at_checked(n_bands.checked_mul(8)?)?;
        let (has_signature, bytes) = bytes.split_first()?;
        let bands: Vec<u64> = bands
            .as_chunks()
            .0
            .iter()
            .map(|hash| u64::from_le_bytes(*hash))
            .collect();
        let (minima, rest) = bytes.as_chunks();
        let minima: Vec<u32> = minima
            .iter()
            .map(|hash| u32::from_le_bytes(*hash))
            .collect();
        let is_whole = rest.is_empty() && (*has_signature == 1 || minima.is_empty());
        is_whole.then(|| Self {
            exact: u128::from_le_bytes(*exact),
            bands: BandHashes::from_slice(&bands),
            signature: (*has_signature == 1).then(|| Signature::from_minima(minima)),
        })
    }
}

#[cfg(test)]
impl Fingerprint {
    /// A fingerprint of chosen hashes.
    pub(super) fn from_hashes(exact: u128, bands: &[u64]) -> Self {
        Self {
            exact,
            bands: BandHashes::from_slice(bands),
            signature: None,
        }
    }
}
