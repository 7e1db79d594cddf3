//! Examples: token ids with a label for each.

use serde::{Deserialize, Serialize};

use crate::{ChatTemplate, DataError, Record, Tokenizer, encode_chat};

/// The label of a token that no loss is taken on.
pub const IGNORE_LABEL: i64 = -100;

/// Token ids, and for each the label that the loss compares with.
///
/// `labels[i]` is the token at `i` itself or [`IGNORE_LABEL`]: the loss does the shift by one, so
/// that the logits at `i - 1` are scored against `labels[i]`, and the first label never counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Example {
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// As many labels.
    pub labels: Vec<i64>,
}

impl Example {
    /// An example with loss on every token.
    #[must_use]
    pub fn from_ids(input_ids: Vec<u32>) -> Self {
        let labels = input_ids.iter().map(|&id| i64::from(id)).collect();
        Self { input_ids, labels }
    }

    /// How many tokens the loss is taken on: labels after the first that are not ignored.
    #[must_use]
    pub fn n_loss_tokens(&self) -> usize {
        count_loss_tokens(&self.labels)
    }
}

/// Labels after the first that are not ignored.
pub(crate) fn count_loss_tokens(labels: &[i64]) -> usize {
    labels
        .iter()
        .skip(1)
        .filter(|&&label| label != IGNORE_LABEL)
        .count()
}

/// Encodes a text, with loss on every token.
///
/// # Errors
/// [`DataError::Encode`].
pub fn encode_text(tokenizer: &Tokenizer, text: &str) -> Result<Example, DataError> {
    Ok(Example::from_ids(tokenizer.encode(text)?))
}

/// Encodes a record: a document as [`encode_text`] of its training text, a conversation as
/// [`encode_chat`].
///
/// # Errors
/// Those of the two, and [`DataError::NoTemplate`] for a conversation without template.
pub fn encode_record(
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    record: &Record,
) -> Result<Example, DataError> {
    match (record, template) {
        (Record::Text(text), _) => encode_text(tokenizer, &text.training_text()),
        (Record::Chat(messages), Some(template)) => encode_chat(tokenizer, template, messages),
        (Record::Chat(_), None) => Err(DataError::NoTemplate),
    }
}
