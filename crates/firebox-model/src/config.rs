//! The sizes of a Llama-family decoder, as `config.json` states them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ModelError;
use crate::rope::RopeScaling;

/// Sizes and constants of a Llama-family decoder (Llama, SmolLM2, Qwen2, Mistral).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream (`hidden_size`).
    pub d_model: usize,
    /// Width inside the feed-forward block (`intermediate_size`).
    pub d_ff: usize,
    /// Number of decoder layers (`num_hidden_layers`).
    pub n_layers: usize,
    /// Query heads (`num_attention_heads`).
    pub n_heads: usize,
    /// Key and value heads (`num_key_value_heads`); divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest sequence, in tokens (`max_position_embeddings`).
    pub max_seq_len: usize,
    /// How many keys a query sees, its own and those before it (`sliding_window` of Mistral); `None`
    /// for all.
    #[serde(default)]
    pub sliding_window: Option<usize>,
    /// Base of the rotary frequencies (`rope_theta`).
    pub rope_base: f64,
    /// Llama 3 frequency scaling, if any.
    pub rope_scaling: Option<RopeScaling>,
    /// Added inside the root of RMSNorm (`rms_norm_eps`).
    pub rms_eps: f64,
    /// The head shares the embedding's weight (`tie_word_embeddings`).
    pub tie_embeddings: bool,
    /// Biases on the q, k and v projections (Qwen2) and, in Llama's `attention_bias`, on o as well.
    pub qkv_bias: bool,
    /// A bias on the output projection (`attention_bias` of Llama).
    pub o_bias: bool,
    /// Biases in the feed-forward block (`mlp_bias`).
    pub mlp_bias: bool,
    /// Ids that end a generation (`eos_token_id`, one or several).
    pub eos_ids: Vec<u32>,
    /// `bos_token_id`, kept for writing the config again.
    pub bos_id: Option<u32>,
}

impl LlamaConfig {
    /// A decoder of these sizes with what is common to the family: one key and value head for each
    /// query head, heads of `d_model / n_heads`, a context of 2048, tied embeddings, no biases,
    /// `rope_base` 10,000 (Llama 2) and `rms_eps` 1e-5. Change fields as needed.
    ///
    /// # Examples
    /// ```
    /// use firebox_model::LlamaConfig;
    ///
    /// let config = LlamaConfig { n_kv_heads: 3, ..LlamaConfig::new(49_152, 576, 1536, 30, 9) };
    /// assert_eq!(config.n_params(), 134_515_008);
    /// ```
    pub fn new(
        vocab_size: usize,
        d_model: usize,
        d_ff: usize,
        n_layers: usize,
        n_heads: usize,
    ) -> Self {
        Self {
            vocab_size,
            d_model,
            d_ff,
            n_layers,
            n_heads,
            n_kv_heads: n_heads,
            head_dim: d_model / n_heads.max(1),
            max_seq_len: 2048,
            sliding_window: None,
            rope_base: 10_000.0,
            rope_scaling: None,
            rms_eps: 1e-5,
            tie_embeddings: true,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            eos_ids: Vec::new(),
            bos_id: None,
        }
    }

    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the field that is missing, of the wrong kind or impossible.
    pub fn from_hf(config: &Value) -> Result<Self, ModelError> {
        let model_type = config["model_type"].as_str().unwrap_or("");
        if !["llama", "qwen2", "mistral"].contains(&model_type) {
            return Err(ModelError::Config {
                field: "model_type",
                expected: "`llama`, `qwen2` or `mistral`".into(),
                found: found(&config["model_type"]),
                hint: "only Llama-family decoders are supported",
            });
        }
        if let Some(act) = config
            .get("hidden_act")
            .filter(|act| act.as_str() != Some("silu"))
        {
            return Err(ModelError::Config {
                field: "hidden_act",
                expected: "`silu`".into(),
                found: found(act),
                hint: "the feed-forward block is SwiGLU",
            });
        }
        let d_model = size(config, "hidden_size")?;
        let n_heads = size(config, "num_attention_heads")?;
        let n_kv_heads = optional_size(config, "num_key_value_heads")?.unwrap_or(n_heads);
        let head_dim = match optional_size(config, "head_dim")? {
            Some(head_dim) => head_dim,
            None => d_model / n_heads,
        };
        let attention_bias = flag(config, "attention_bias")?;
        let parsed = Self {
            vocab_size: size(config, "vocab_size")?,
            d_model,
            d_ff: size(config, "intermediate_size")?,
            n_layers: size(config, "num_hidden_layers")?,
            n_heads,
            n_kv_heads,
            head_dim,
            max_seq_len: optional_size(config, "max_position_embeddings")?.unwrap_or(2048),
            sliding_window: sliding_window(config, model_type)?,
            rope_base: rope_base(config)?,
            rope_scaling: RopeScaling::from_hf(config)?,
            rms_eps: number(config, "rms_norm_eps")?.unwrap_or(1e-6),
            tie_embeddings: flag(config, "tie_word_embeddings")?,
            qkv_bias: attention_bias || model_type == "qwen2",
            o_bias: attention_bias,
            mlp_bias: flag(config, "mlp_bias")?,
            eos_ids: token_ids(&config["eos_token_id"]),
            bos_id: token_ids(&config["bos_token_id"]).first().copied(),
        };
        parsed.validate()?;
        Ok(parsed)
    }

    /// Every id has a row in the embedding.
    ///
    /// # Errors
    /// [`ModelError::TokenOutOfRange`] names the first that has none.
    pub fn check_ids(&self, ids: &[u32]) -> Result<(), ModelError> {
        let vocab_size = self.vocab_size;
        match ids.iter().find(|id| **id as usize >= vocab_size) {
            Some(&id) => Err(ModelError::TokenOutOfRange { id, vocab_size }),
            None => Ok(()),
        }
    }

    /// So many tokens fit the context.
    pub(crate) fn check_context(&self, n_tokens: usize) -> Result<(), ModelError> {
        match self.max_seq_len {
            max_seq_len if n_tokens > max_seq_len => Err(ModelError::PromptTooLong {
                prompt_tokens: n_tokens,
                max_seq_len,
            }),
            _ => Ok(()),
        }
    }

    /// Checks what no single field can say.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a size of zero, an odd head width, or key and value heads that do
    /// not divide the query heads.
    pub fn validate(&self) -> Result<(), ModelError> {
        let sizes: [(&'static str, usize); 8] = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.d_model),
            ("intermediate_size", self.d_ff),
            ("num_hidden_layers", self.n_layers),
            ("num_attention_heads", self.n_heads),
            ("num_key_value_heads", self.n_kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_seq_len),
        ];
        for (field, size) in sizes {
            if size == 0 || size > 1 << 28 {
                return Err(ModelError::Config {
                    field,
                    expected: format!("a whole number from 1 to {}", 1 << 28),
                    found: format!("`{size}`"),
                    hint: "is config.json the one of this checkpoint?",
                });
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(ModelError::Config {
                field: "num_key_value_heads",
                expected: format!("a divisor of num_attention_heads = {}", self.n_heads),
                found: format!("`{}`", self.n_kv_heads),
                hint: "each key and value head serves the same number of query heads",
            });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ModelError::Config {
                field: "head_dim",
                expected: "an even number".into(),
                found: format!("`{}`", self.head_dim),
                hint: "rotary embeddings turn pairs of numbers",
            });
        }
        // Mistral has no biases that its config could state.
        if self.sliding_window == Some(0) || (self.sliding_window.is_some() && self.qkv_bias) {
            return Err(ModelError::Config {
                field: "sliding_window",
                expected: "a positive whole number, and no `attention_bias`".into(),
                found: format!("`{}`", self.sliding_window.unwrap_or(0)),
                hint: "4096 is Mistral's",
            });
        }
        if !(self.rms_eps.is_finite() && self.rms_eps > 0.0) {
            return Err(ModelError::Config {
                field: "rms_norm_eps",
                expected: "a positive number".into(),
                found: format!("`{}`", self.rms_eps),
                hint: "1e-5 is usual",
            });
        }
        if !(self.rope_base.is_finite() && self.rope_base > 1.0) {
            return Err(ModelError::Config {
                field: "rope_theta",
                expected: "a number above 1".into(),
                found: format!("`{}`", self.rope_base),
                hint: "10000 is usual",
            });
        }
        Ok(())
    }

    /// The Hugging Face `config.json` of this model.
    pub fn to_hf(&self) -> Value {
        let (architecture, model_type) = if self.sliding_window.is_some() {
            ("MistralForCausalLM", "mistral")
        } else if self.qkv_bias && !self.o_bias {
            ("Qwen2ForCausalLM", "qwen2")
        } else {
            ("LlamaForCausalLM", "llama")
        };
        json!({
            "architectures": [architecture],
            "model_type": model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.d_model,
            "intermediate_size": self.d_ff,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_seq_len,
            "sliding_window": self.sliding_window,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_eps,
            "rope_theta": self.rope_base,
            "rope_scaling": self.rope_scaling.as_ref().map(RopeScaling::to_hf),
            "attention_bias": self.o_bias,
            "attention_dropout": 0.0,
            "mlp_bias": self.mlp_bias,
            "tie_word_embeddings": self.tie_embeddings,
            "bos_token_id": self.bos_id,
            "eos_token_id": match self.eos_ids.as_slice() {
                [] => Value::Null,
                [one] => json!(one),
                several => json!(several),
            },
            "torch_dtype": "float32",
        })
    }

    /// Number of weights, the tied head counted once.
    pub fn n_params(&self) -> usize {
        let (q, kv) = (
            self.n_heads * self.head_dim,
            self.n_kv_heads * self.head_dim,
        );
        let attention = self.d_model * (2 * q + 2 * kv)
            + usize::from(self.qkv_bias) * (q + 2 * kv)
            + usize::from(self.o_bias) * self.d_model;
        let mlp = 3 * self.d_model * self.d_ff
            + usize::from(self.mlp_bias) * (2 * self.d_ff + self.d_model);
        let embeddings = self.vocab_size * self.d_model * (2 - usize::from(self.tie_embeddings));
        embeddings + self.n_layers * (attention + mlp + 2 * self.d_model) + self.d_model
    }
}

/// Mistral's window; `None` where it is as long as the context. Qwen2 has one where told so, and
/// then not in all layers.
fn sliding_window(config: &Value, model_type: &str) -> Result<Option<usize>, ModelError> {
    let context = optional_size(config, "max_position_embeddings")?.unwrap_or(usize::MAX);
    let used = model_type == "mistral" || config["use_sliding_window"] == true;
    if !used {
        return Ok(None);
    }
    match optional_size(config, "sliding_window")?.filter(|window| *window < context) {
        Some(_) if model_type != "mistral" => Err(ModelError::Config {
            field: "sliding_window",
            expected: "`null`".into(),
            found: found(&config["sliding_window"]),
            hint: "a window is supported where all layers have it, as in Mistral",
        }),
        window => Ok(window),
    }
}

pub(crate) fn found(value: &Value) -> String {
    if value.is_null() {
        "nothing".into()
    } else {
        format!("`{value}`")
    }
}

pub(crate) fn optional_size(
    config: &Value,
    field: &'static str,
) -> Result<Option<usize>, ModelError> {
    match &config[field] {
        Value::Null => Ok(None),
        value => match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if n > 0 => Ok(Some(n)),
            _ => Err(ModelError::Config {
                field,
                expected: "a positive whole number".into(),
                found: found(value),
                hint: "is config.json the one of this checkpoint?",
            }),
        },
    }
}

fn size(config: &Value, field: &'static str) -> Result<usize, ModelError> {
    optional_size(config, field)?.ok_or_else(|| ModelError::Config {
        field,
        expected: "a positive whole number".into(),
        found: "nothing".into(),
        hint: "is this the config.json of a Llama-family decoder?",
    })
}

pub(crate) fn number(config: &Value, field: &'static str) -> Result<Option<f64>, ModelError> {
    match &config[field] {
        Value::Null => Ok(None),
        value => value.as_f64().map(Some).ok_or_else(|| ModelError::Config {
            field,
            expected: "a number".into(),
            found: found(value),
            hint: "is config.json the one of this checkpoint?",
        }),
    }
}

fn flag(config: &Value, field: &'static str) -> Result<bool, ModelError> {
    match &config[field] {
        Value::Null => Ok(false),
        value => value.as_bool().ok_or_else(|| ModelError::Config {
            field,
            expected: "`true` or `false`".into(),
            found: found(value),
            hint: "is config.json the one of this checkpoint?",
        }),
    }
}

/// `rope_theta` stands at the top level, or (transformers 5) inside `rope_parameters`.
fn rope_base(config: &Value) -> Result<f64, ModelError> {
    let nested = &config["rope_parameters"];
    let at = if nested.is_object() { nested } else { config };
    Ok(number(at, "rope_theta")?
        .or(number(config, "rope_theta")?)
        .unwrap_or(10_000.0))
}

/// One id, several, or none, as configs state `eos_token_id`.
pub fn token_ids(value: &Value) -> Vec<u32> {
    let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(several) => several.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
