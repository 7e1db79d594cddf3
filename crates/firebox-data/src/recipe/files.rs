//! What a recipe says of files: `[input]` and `[output]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::problem;
use crate::filter::RuleProblem;

/// What is read; `[input]` in a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputConfig {
    /// Files, folders and globs, in order; the `firebox` program also takes what it can fetch (`pypi:…`,
    /// `hf:…`).
    pub data: Vec<String>,
    /// The field or column with the text; `text` if none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// The field or column with the name; `id` if none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_field: Option<String>,
    /// Whether the sections of a MEDLINE abstract are joined by spaces, without their labels.
    pub joined_abstracts: bool,
    /// Largest share of broken records, from 0 to 1.
    pub max_broken_share: f64,
}

impl Default for InputConfig {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            text_field: None,
            id_field: None,
            joined_abstracts: false,
            max_broken_share: 0.01,
        }
    }
}

impl InputConfig {
    pub(super) fn check(&self, problems: &mut Vec<RuleProblem>) {
        let share = self.max_broken_share;
        if !(0.0..=1.0).contains(&share) {
            let text = format!("expected a number from 0 to 1, found {share}");
            problems.push(problem("`[input]`, `max_broken_share`", text));
        }
    }
}

/// What is written; `[output]` in a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// The file: `.jsonl`, `.jsonl.gz`, `.jsonl.zst` or `.parquet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}
