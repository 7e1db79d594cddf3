//! Duplicates: equal and similar documents, of which one stays.

mod character_class;
mod clusters;
mod compatibility;
mod config;
mod duplicates;
mod error;
mod fingerprint;
mod min_hash;
pub(crate) mod n_grams;
mod permutations;
#[cfg(test)]
mod planted;
mod report;
mod signatures;
pub(crate) mod simplify;
mod spill;
mod union_find;

use rayon::prelude::*;

pub use clusters::{Clusters, Duplicate};
pub use config::{CheckConfig, DedupConfig, Find, KeepRule, MinHashConfig};
pub use duplicates::{DocumentFacts, Duplicates};
pub use error::DedupError;
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use min_hash::{BandHashes, MinHasher, Signature};
pub use report::{CheckedPair, CheckedPairs, DedupReport};
pub use simplify::{Simplification, UnicodeForm};

/// Documents whose fingerprints are made at once.
const N_AT_ONCE: usize = 1 << 16;

/// Finds the duplicates among texts in memory, on all threads of the pool.
///
/// # Errors
///
/// As [`DedupConfig::validate`], and [`DedupError::TooManyDocuments`].
///
/// # Examples
///
/// ```
/// use firebox_data::{DedupConfig, deduplicate};
///
/// let texts = ["火是热的，水是湿的。", "Fire is hot.", "火是热的 水是湿的"];
/// let clusters = deduplicate(&texts, &DedupConfig::default())?;
/// assert!(clusters.is_dropped(2));
/// # Ok::<(), firebox_data::DedupError>(())
/// ```
pub fn deduplicate<T: AsRef<str> + Sync>(
    texts: &[T],
    config: &DedupConfig,
) -> Result<Clusters, DedupError> {
    let fingerprinter = Fingerprinter::new(config)?;
    let mut duplicates = Duplicates::new(config, None)?;
    for part in texts.chunks(N_AT_ONCE) {
        let fingerprints: Vec<Fingerprint> = part
            .par_iter()
            .map(|text| fingerprinter.fingerprint(text.as_ref()))
            .collect();
        for (text, fingerprint) in part.iter().zip(&fingerprints) {
            let facts = DocumentFacts {
                n_bytes: text.as_ref().len() as u64,
                year: None,
            };
            duplicates.push(fingerprint, facts)?;
        }
    }
    duplicates.finish()
}
