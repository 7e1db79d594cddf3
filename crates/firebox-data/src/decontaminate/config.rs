//! What `[decontaminate]` in a recipe says.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::DecontaminateError;
use crate::dedup::Simplification;

/// How documents that hold parts of evaluation sets are found; `[decontaminate]` in a recipe.
///
/// # Examples
///
/// ```
/// use firebox_data::DecontaminateConfig;
///
/// let config: DecontaminateConfig = toml::from_str(r#"against = ["eval/pubmed_qa.jsonl"]"#)?;
/// config.validate()?;
/// assert_eq!(config.n_gram, 13);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecontaminateConfig {
    /// The evaluation sets: files, folders or globs, as [`read_records`](crate::read_records) takes them.
    pub against: Vec<PathBuf>,
    /// Words in an n-gram; characters, in scripts that are written without spaces. 13 as in GPT-3; Llama 2
    /// has 10 tokens, datatrove 12 words.
    ///
    /// Source: Brown et al. (2020), "Language models are few-shot learners", appendix C.
    pub n_gram: usize,
    /// An evaluation record with fewer words than [`n_gram`](Self::n_gram), but as many as these, is
    /// looked for as a whole; a shorter one is not looked for. 8 as in GPT-3.
    pub min_n_gram: usize,
    /// A document with this many n-grams of evaluation sets, counted where they occur, is contaminated.
    pub min_matches: usize,
    /// What happens to it.
    pub action: ContaminatedAction,
    /// What is cut into n-grams.
    pub text: Simplification,
}

/// What happens to a contaminated document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContaminatedAction {
    /// It is left out.
    Drop,
    /// It stays, and the report names it.
    Report,
}

impl Default for DecontaminateConfig {
    fn default() -> Self {
        Self {
            against: Vec::new(),
            n_gram: 13,
            min_n_gram: 8,
            min_matches: 1,
            action: ContaminatedAction::Drop,
            text: Simplification::default(),
        }
    }
}

impl DecontaminateConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`DecontaminateError::Setting`] names the first that is out of its range.
    pub fn validate(&self) -> Result<(), DecontaminateError> {
        in_range("n_gram", self.n_gram, 1, 64)?;
        in_range("min_n_gram", self.min_n_gram, 1, self.n_gram)?;
        in_range("min_matches", self.min_matches, 1, usize::MAX)
    }
}

fn in_range(
    field: &'static str,
    found: usize,
    least: usize,
    most: usize,
) -> Result<(), DecontaminateError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(DecontaminateError::Setting {
        field,
        least,
        most,
        found,
    })
}

#[cfg(test)]
mod tests;
