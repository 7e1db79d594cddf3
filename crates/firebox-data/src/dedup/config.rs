//! What `[dedup]` in a recipe says.

use serde::{Deserialize, Serialize};

use super::error::DedupError;
use super::simplify::{Simplification, UnicodeForm};

/// How duplicates are found and which of them stays; `[dedup]` in a recipe.
///
/// # Examples
///
/// ```
/// use firebox_data::{DedupConfig, KeepRule};
///
/// let config: DedupConfig = toml::from_str(
///     r#"
///     keep = "longest"
///     [near]
///     n_bands = 20
///     n_rows = 6
///     "#,
/// )?;
/// config.validate()?;
/// assert_eq!(config.keep, KeepRule::Longest);
/// assert_eq!(config.near.n_gram, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DedupConfig {
    /// What counts as a duplicate.
    pub find: Find,
    /// Which document of a cluster stays.
    pub keep: KeepRule,
    /// Memory for hashes that wait to be sorted, in bytes, when there is a folder to spill to. Four
    /// bytes a document come on top (twelve, if [`keep`](Self::keep) is not the first).
    pub memory_bytes: u64,
    /// What is hashed to find equal texts.
    pub exact_text: Simplification,
    /// How similar texts are found.
    pub near: MinHashConfig,
    /// How merged pairs are checked for the report.
    pub check: CheckConfig,
}

/// What counts as a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Find {
    /// Texts that are equal once simplified.
    Exact,
    /// Equal texts and similar ones.
    Near,
}

/// Which document of a cluster stays. Where two are as good, the one earlier in the input does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepRule {
    /// The first in the order of the input.
    First,
    /// The one with most bytes of text.
    Longest,
    /// The one with the latest year; a document without a year comes last.
    Newest,
}

/// MinHash with locality-sensitive hashing; `[dedup.near]` in a recipe.
///
/// Two documents whose sets of n-grams have the Jaccard similarity `s` become candidates with
/// probability `1 - (1 - s^n_rows)^n_bands`: 0.92 at 0.8 and 0.21 at 0.6 with the defaults, which
/// are those of datatrove (`MinhashConfig`).
///
/// Source: Broder (1997), "On the resemblance and containment of documents"; Leskovec, Rajaraman
/// and Ullman, "Mining of Massive Datasets", section 3.4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinHashConfig {
    /// Words in an n-gram; characters, in scripts that are written without spaces.
    pub n_gram: usize,
    /// Bands; two documents that agree in one are candidates.
    pub n_bands: usize,
    /// Hashes in a band.
    pub n_rows: usize,
    /// Where the permutations come from.
    pub seed: u64,
    /// Candidates whose signatures agree in a smaller share than this are not merged; 0 merges every
    /// candidate, as datatrove does. Signatures are then kept: four bytes a hash and document.
    pub min_estimated_jaccard: f64,
    /// What is cut into n-grams.
    pub text: Simplification,
}

/// How merged pairs are checked; `[dedup.check]` in a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckConfig {
    /// How many pairs of a dropped document and the one it was dropped for are drawn.
    pub n_pairs: usize,
    /// A pair with a smaller Jaccard similarity is reported as a false merge.
    pub false_merge_below: f64,
    /// How many pairs the report shows.
    pub n_shown: usize,
    /// Where the draw comes from.
    pub seed: u64,
}

impl Default for DedupConfig {
    fn default() -> Self {
        Self {
            find: Find::Near,
            keep: KeepRule::First,
            memory_bytes: 256 << 20,
            exact_text: Simplification {
                unicode: UnicodeForm::Nfkc,
                lowercase: true,
                remove_punctuation: false,
                merge_numbers: false,
            },
            near: MinHashConfig::default(),
            check: CheckConfig::default(),
        }
    }
}

impl Default for MinHashConfig {
    fn default() -> Self {
        Self {
            n_gram: 5,
            n_bands: 14,
            n_rows: 8,
            seed: 1,
            min_estimated_jaccard: 0.0,
            text: Simplification::default(),
        }
    }
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self {
            n_pairs: 1000,
            false_merge_below: 0.5,
            n_shown: 10,
            seed: 1,
        }
    }
}

impl DedupConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`DedupError::Setting`] names the first that is out of its range.
    pub fn validate(&self) -> Result<(), DedupError> {
        in_range("memory_bytes", self.memory_bytes, 1 << 20, 1 << 46)?;
        share("check.false_merge_below", self.check.false_merge_below)?;
        in_range("check.n_pairs", self.check.n_pairs as u64, 0, 1 << 20)?;
        self.near.validate()
    }
}

impl MinHashConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`DedupError::Setting`] names the first that is out of its range.
    pub fn validate(&self) -> Result<(), DedupError> {
        in_range("near.n_gram", self.n_gram as u64, 1, 64)?;
        in_range("near.n_bands", self.n_bands as u64, 1, 512)?;
        in_range("near.n_rows", self.n_rows as u64, 1, 512)?;
        let n_hashes = (self.n_bands * self.n_rows) as u64;
        in_range("near.n_bands * near.n_rows", n_hashes, 1, 4096)?;
        share("near.min_estimated_jaccard", self.min_estimated_jaccard)
    }

    /// Hashes in a signature.
    #[must_use]
    pub fn n_hashes(&self) -> usize {
        self.n_bands * self.n_rows
    }

    /// The probability that two documents of this Jaccard similarity become candidates.
    #[must_use]
    pub fn detection_rate(&self, jaccard: f64) -> f64 {
        let power = |base: f64, n: usize| base.powf(n as f64);
        1.0 - power(1.0 - power(jaccard, self.n_rows), self.n_bands)
    }
}

fn in_range(field: &'static str, found: u64, least: u64, most: u64) -> Result<(), DedupError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(DedupError::Setting {
        field,
        expected: format!("{least} to {most}"),
        found: found.to_string(),
    })
}

fn share(field: &'static str, found: f64) -> Result<(), DedupError> {
    if (0.0..=1.0).contains(&found) {
        return Ok(());
    }
    Err(DedupError::Setting {
        field,
        expected: "0 to 1".to_owned(),
        found: found.to_string(),
    })
}

#[cfg(test)]
mod tests;
