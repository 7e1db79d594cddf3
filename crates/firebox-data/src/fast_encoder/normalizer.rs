//! What is done to a text before it is split into words.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::NormalizedString;
use unicode_normalization::{IsNormalized, is_nfc_quick};

/// One step, as `tokenizer.json` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Step {
    /// Composed characters.
    #[serde(rename = "NFC")]
    Nfc,
    /// A text in front, unless there is nothing to stand in front of.
    Prepend { prepend: String },
    /// One text in the place of another.
    Replace { pattern: Pattern, content: String },
}

/// What is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) enum Pattern {
    /// A text as it stands.
    String(String),
}

/// Steps, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Normalizer {
    steps: Vec<Step>,
}

impl Normalizer {
    /// The steps of a normalizer in `tokenizer.json`, or the type of the one that is not known.
    pub(super) fn from_json(normalizer: &Value) -> Result<Self, String> {
        let mut steps = Vec::new();
        push_steps(normalizer, &mut steps)?;
        Ok(Self { steps })
    }

    /// Whether every text starts with the same characters before and after.
    pub(super) fn keeps_start(&self) -> bool {
        self.steps.iter().all(|step| *step == Step::Nfc)
    }

    /// The text after all steps.
    pub(super) fn normalize<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            match step {
                Step::Nfc if is_composed(&text) => {}
                Step::Nfc => text = composed(&text).into(),
                Step::Prepend { .. } if text.is_empty() => {}
                Step::Prepend { prepend } => text = [prepend, &*text].concat().into(),
                Step::Replace {
                    pattern: Pattern::String(pattern),
                    content,
                } => text = text.replace(pattern, content).into(),
            }
        }
        text
    }
}

fn push_steps(normalizer: &Value, steps: &mut Vec<Step>) -> Result<(), String> {
    if normalizer.is_null() {
        return Ok(());
    }
    if let Some(inner) = normalizer["normalizers"].as_array() {
        return inner.iter().try_for_each(|step| push_steps(step, steps));
    }
    let step = Step::deserialize(normalizer);
    match step {
        Ok(Step::Replace {
            pattern: Pattern::String(pattern),
            ..
        }) if pattern.is_empty() => Err("Replace of nothing".to_owned()),
        Ok(step) => {
            steps.push(step);
            Ok(())
        }
        Err(_) => Err(normalizer["type"].as_str().unwrap_or("?").to_owned()),
    }
}

/// Whether a text is sure to be in NFC already. Han characters are, and are most of the text that
/// is worth the hurry.
fn is_composed(text: &str) -> bool {
    let is_han = |c: &char| ('\u{4e00}'..='\u{9fff}').contains(c);
    text.is_ascii() || is_nfc_quick(text.chars().filter(|c| !is_han(c))) == IsNormalized::Yes
}

/// NFC with the tables of the `tokenizers` crate, which are of another Unicode version than those of
/// the quick check. What the check is sure of, no version changes.
fn composed(text: &str) -> String {
    let mut normalized = NormalizedString::from(text);
    normalized.nfc();
    normalized.get().to_owned()
}
