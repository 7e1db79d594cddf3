//! Which tensors are packed, and in which format.

use std::{fmt, str::FromStr};

use firebox_checkpoint::{Checkpoint, PackedLayout};
use firebox_tensor::packed::PackedFormat;
use glob::Pattern;
use serde::{Deserialize, Serialize};

use crate::rounding::Rounding;

/// What to pack, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantConfig {
    /// The format of the projections that no rule names.
    pub format: PackedFormat,
    /// Two-dimensional tensors of other formats; the first rule that names a tensor counts.
    pub rules: Vec<TensorRule>,
    /// How packed weights lie in the files.
    #[serde(default)]
    pub layout: PackedLayout,
    /// How values are rounded where no calibration says more.
    #[serde(default)]
    pub rounding: Rounding,
}

/// Which tensors, and what becomes of them: `model.embed_tokens.weight=q8_0`, `*.o_proj.weight=keep`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TensorRule {
    pattern: Pattern,
    /// `None` to keep a tensor as it is.
    pub format: Option<PackedFormat>,
}

/// The pattern of what is packed without a rule: every projection of a decoder.
pub(crate) const PROJECTIONS: &str = "*_proj.weight";
#[cfg(feature = "calibrate")]
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
#[cfg(feature = "calibrate")]
pub(crate) const HEAD: &str = "lm_head.weight";

impl QuantConfig {
    /// Every projection of a decoder (`*_proj.weight`); embeddings, head and norms stay.
    pub fn projections(format: PackedFormat) -> Self {
        Self {
            format,
            rules: Vec::new(),
            layout: PackedLayout::default(),
            rounding: Rounding::default(),
        }
    }

    /// The same with other rules for some tensors.
    #[must_use]
    pub fn with_rules(self, rules: Vec<TensorRule>) -> Self {
        Self { rules, ..self }
    }

    /// The same in files of another layout.
    #[must_use]
    pub fn with_layout(self, layout: PackedLayout) -> Self {
        Self { layout, ..self }
    }

    /// The same, rounded otherwise.
    #[must_use]
    pub fn with_rounding(self, rounding: Rounding) -> Self {
        Self { rounding, ..self }
    }

    /// Format and shape of a tensor that is packed.
    pub(crate) fn packs(
        &self,
        checkpoint: &Checkpoint,
        name: &str,
    ) -> Option<(PackedFormat, [usize; 2])> {
        let shape = <[usize; 2]>::try_from(checkpoint.shape(name)?).ok()?;
        let rule = self.rules.iter().find(|rule| rule.pattern.matches(name));
        let format = match rule {
            Some(rule) => rule.format,
            None => name
                .ends_with(PROJECTIONS.trim_start_matches('*'))
                .then_some(self.format),
        };
        Some((format?, shape))
    }

    /// Whether a weight's format is free to choose: a projection, the embedding or the head, which no
    /// rule names.
    #[cfg(feature = "calibrate")]
    pub(crate) fn has_choice(&self, checkpoint: &Checkpoint, name: &str) -> bool {
        let is_matrix = checkpoint.shape(name).is_some_and(|shape| shape.len() == 2);
        let is_projection = name.ends_with(PROJECTIONS.trim_start_matches('*'));
        is_matrix
            && (is_projection || name == EMBEDDING || name == HEAD)
            && !self.rules.iter().any(|rule| rule.pattern.matches(name))
    }

    /// Rules that name no tensor of two dimensions: most likely misspelt.
    pub(crate) fn unused_rule(
        &self,
        checkpoint: &Checkpoint,
        names: &[String],
    ) -> Option<&TensorRule> {
        let is_matrix =
            |name: &&String| checkpoint.shape(name).is_some_and(|shape| shape.len() == 2);
        let matrices: Vec<&String> = names.iter().filter(is_matrix).collect();
        self.rules
            .iter()
            .find(|rule| !matrices.iter().any(|name| rule.pattern.matches(name)))
    }
}

impl TensorRule {
    /// Tensors whose whole name matches `pattern` (`*` is any run of characters).
    ///
    /// # Errors
    /// [`BadTensorRule`] for a pattern that is none.
    pub fn new(pattern: &str, format: Option<PackedFormat>) -> Result<Self, BadTensorRule> {
        let pattern = Pattern::new(pattern).map_err(|error| BadTensorRule {
            found: pattern.to_owned(),
            why: error.msg.to_owned(),
        })?;
        Ok(Self { pattern, format })
    }
}

impl TensorRule {
    /// One tensor in a format.
    #[cfg(feature = "calibrate")]
    pub(crate) fn exactly(name: &str, format: PackedFormat) -> Self {
        let pattern = Pattern::new(&Pattern::escape(name)).expect("escaped");
        let format = Some(format);
        Self { pattern, format }
    }
}

impl fmt::Display for TensorRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.format.map_or("keep", PackedFormat::name);
        write!(f, "{}={format}", self.pattern)
    }
}

impl FromStr for TensorRule {
    type Err = BadTensorRule;

    fn from_str(text: &str) -> Result<Self, BadTensorRule> {
        let bad = |why: String| BadTensorRule {
            found: text.to_owned(),
            why,
        };
        let (pattern, format) = text
            .rsplit_once('=')
            .ok_or_else(|| bad("there is no `=`".to_owned()))?;
        let format = match format {
            "keep" => None,
            name => Some(
                name.parse()
                    .map_err(|error| bad(format!("{error}, or `keep`")))?,
            ),
        };
        Self::new(pattern, format)
    }
}

impl From<TensorRule> for String {
    fn from(rule: TensorRule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for TensorRule {
    type Error = BadTensorRule;

    fn try_from(text: String) -> Result<Self, BadTensorRule> {
        text.parse()
    }
}

/// A text that is no [`TensorRule`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tensor rule `{found}`: expected `PATTERN=FORMAT`, such as `*.o_proj.weight=q8_0`; {why}")]
pub struct BadTensorRule {
    /// The text.
    pub found: String,
    /// What is wrong with it.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_back() {
        for text in [
            "*.o_proj.weight=q8_0",
            "lm_head.weight=keep",
            "a=b*=int4-64",
        ] {
            assert_eq!(text.parse::<TensorRule>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("q8_0", "no `=`"),
            ("x=q9", "unknown packed format `q9`"),
            ("x=q9", "or `keep`"),
            ("***=q8_0", "wildcard"),
        ] {
            let error = text.parse::<TensorRule>().unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains(text.split('=').next().unwrap()),
                "{error}"
            );
        }
    }
}
