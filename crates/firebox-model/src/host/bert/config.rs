//! The sizes of a BERT encoder.

use serde_json::Value;

use crate::config::{found, number, optional_size};
use crate::error::ModelError;

/// The sizes of a BERT encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Rows of the word embedding.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub d_model: usize,
    /// Width inside the feed-forward block.
    pub d_ff: usize,
    /// Layers.
    pub n_layers: usize,
    /// Heads, of `d_model / n_heads` each.
    pub n_heads: usize,
    /// Positions: tokens of the longest text.
    pub max_seq_len: usize,
    /// Rows of the token type embedding.
    pub n_token_types: usize,
    /// Added to the variance in every norm; no unit. 1e-12 in the paper's models.
    pub layer_norm_eps: f64,
}

/// Larger sizes are a damaged file.
const MAX_SIZE: usize = 1 << 28;

impl BertConfig {
    /// Reads Hugging Face's `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Config`] for another architecture, activation or kind of positions, and for
    /// sizes that are missing or do not fit together.
    pub fn from_hf(config: &Value) -> Result<Self, ModelError> {
        check_is(config, "model_type", "bert", false)?;
        check_is(config, "hidden_act", "gelu", true)?;
        check_is(config, "position_embedding_type", "absolute", true)?;
        let config = Self {
            vocab_size: size(config, "vocab_size")?,
            d_model: size(config, "hidden_size")?,
            d_ff: size(config, "intermediate_size")?,
            n_layers: size(config, "num_hidden_layers")?,
            n_heads: size(config, "num_attention_heads")?,
            max_seq_len: size(config, "max_position_embeddings")?,
            n_token_types: optional_size(config, "type_vocab_size")?.unwrap_or(2),
            layer_norm_eps: number(config, "layer_norm_eps")?.unwrap_or(1e-12),
        };
        config.validate()?;
        Ok(config)
    }

    /// Checks what no single field can say.
    fn validate(&self) -> Result<(), ModelError> {
        if !self.d_model.is_multiple_of(self.n_heads) {
            return Err(ModelError::Config {
                field: "num_attention_heads",
                expected: format!("a divisor of hidden_size = {}", self.d_model),
                found: format!("`{}`", self.n_heads),
                hint: "is config.json the one of this checkpoint?",
            });
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps > 0.0) {
            return Err(ModelError::Config {
                field: "layer_norm_eps",
                expected: "a positive number".into(),
                found: format!("`{}`", self.layer_norm_eps),
                hint: "1e-12 is usual",
            });
        }
        Ok(())
    }

    /// A text has tokens, not too many, and each has a row in the embedding.
    pub(super) fn check(&self, ids: &[u32]) -> Result<(), ModelError> {
        let (n, max_seq_len, vocab_size) = (ids.len(), self.max_seq_len, self.vocab_size);
        if n == 0 {
            return Err(ModelError::Empty { what: "text" });
        }
        if n > max_seq_len {
            return Err(ModelError::PromptTooLong {
                prompt_tokens: n,
                max_seq_len,
            });
        }
        match ids.iter().find(|id| **id as usize >= vocab_size) {
            Some(&id) => Err(ModelError::TokenOutOfRange { id, vocab_size }),
            None => Ok(()),
        }
    }
}

fn size(config: &Value, field: &'static str) -> Result<usize, ModelError> {
    match optional_size(config, field)? {
        Some(size) if size <= MAX_SIZE => Ok(size),
        _ => Err(ModelError::Config {
            field,
            expected: format!("a whole number from 1 to {MAX_SIZE}"),
            found: found(&config[field]),
            hint: "is this the config.json of a BERT encoder?",
        }),
    }
}

/// A field that knows one word here; a missing one means that word where it `may_miss`.
fn check_is(
    config: &Value,
    field: &'static str,
    word: &str,
    may_miss: bool,
) -> Result<(), ModelError> {
    let value = &config[field];
    if value == word || (may_miss && value.is_null()) {
        return Ok(());
    }
    Err(ModelError::Config {
        field,
        expected: format!("`\"{word}\"`"),
        found: found(value),
        hint: "embeddings are computed by BERT encoders, such as all-MiniLM-L6-v2",
    })
}
