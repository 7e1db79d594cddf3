//! What can be wrong with a recipe.

use crate::filter::{RuleProblem, list};

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The text is no TOML.
    #[error("read the recipe: expected TOML (hint: see the line below)")]
    Toml {
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// Names or values that make no sense.
    #[error("read the recipe: {}", list(.problems))]
    Invalid {
        /// Every one of them.
        problems: Vec<RuleProblem>,
    },
}
