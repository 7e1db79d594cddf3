//! The `config.json` that a GGUF file's metadata amount to.

use serde_json::{Map, Value, json};

use super::{
    meta::Meta,
    names::{Architecture, Permuted},
    rope_scaling::rope_scaling,
};
use crate::error::ModelError;

/// What the tensors say about the model.
#[derive(Debug)]
pub(super) struct Facts {
    /// There is no output matrix: the embedding serves.
    pub(super) tied: bool,
    /// Rows of the embedding.
    pub(super) n_embeddings: Option<usize>,
    pub(super) attention_bias: bool,
    pub(super) mlp_bias: bool,
    /// Llama 3's frequency factors.
    pub(super) rope_freqs: Option<Vec<f32>>,
}

/// Head counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
}

impl Heads {
    pub(super) fn of(self, which: Permuted) -> usize {
        match which {
            Permuted::Query => self.n_heads,
            Permuted::Key => self.n_kv_heads,
        }
    }
}

/// The head counts of the file.
pub(super) fn n_heads(meta: &Meta<'_>, architecture: Architecture) -> Result<Heads, ModelError> {
    let key = |suffix: &str| format!("{}.attention.{suffix}", architecture.name());
    let n_heads = meta.size(&key("head_count"))?;
    let kv_key = key("head_count_kv");
    let n_kv_heads = meta.optional_size(&kv_key)?.unwrap_or(n_heads);
    if !n_heads.is_multiple_of(n_kv_heads) {
        let expected = format!("a divisor of the {n_heads} heads");
        return Err(meta.bad(&kv_key, expected, n_kv_heads.to_string()));
    }
    Ok(Heads {
        n_heads,
        n_kv_heads,
    })
}

/// Hugging Face's `config.json`.
pub(super) fn synthesize(
    meta: &Meta<'_>,
    architecture: Architecture,
    facts: &Facts,
) -> Result<Value, ModelError> {
    let key = |suffix: &str| format!("{}.{suffix}", architecture.name());
    if let Some(n_experts) = meta.u64(&key("expert_count"))?.filter(|n| *n > 0) {
        return Err(meta.bad(
            &key("expert_count"),
            "a dense model",
            format!("{n_experts} experts"),
        ));
    }
    let heads = n_heads(meta, architecture)?;
    let d_model = meta.size(&key("embedding_length"))?;
    let head_dim = head_dim(meta, architecture, d_model, heads.n_heads)?;
    let vocab_size = match meta.optional_size(&key("vocab_size"))? {
        Some(size) => size,
        None => facts
            .n_embeddings
            .ok_or_else(|| meta.missing(&key("vocab_size")))?,
    };
    let eps_key = key("attention.layer_norm_rms_epsilon");
    let eps = meta.f64(&eps_key)?.ok_or_else(|| meta.missing(&eps_key))?;
    let rope_base = meta.f64(&key("rope.freq_base"))?.unwrap_or(10_000.0); // llama.cpp's default.
    let scaling = rope_scaling(
        meta,
        architecture,
        rope_base,
        head_dim,
        facts.rope_freqs.as_deref(),
    )?;
    let mut config = Map::new();
    let mut set = |name: &str, value: Value| config.insert(name.to_owned(), value);
    set("architectures", json!([architecture.class()]));
    set("model_type", json!(architecture.name()));
    set("vocab_size", json!(vocab_size));
    set("hidden_size", json!(d_model));
    set(
        "intermediate_size",
        json!(meta.size(&key("feed_forward_length"))?),
    );
    set("num_hidden_layers", json!(meta.size(&key("block_count"))?));
    set("num_attention_heads", json!(heads.n_heads));
    set("num_key_value_heads", json!(heads.n_kv_heads));
    set("head_dim", json!(head_dim));
    set(
        "max_position_embeddings",
        json!(meta.size(&key("context_length"))?),
    );
    set("hidden_act", json!("silu"));
    set("rms_norm_eps", json!(eps));
    set("rope_theta", json!(rope_base));
    set("rope_scaling", scaling);
    if architecture == Architecture::Llama {
        set("attention_bias", json!(facts.attention_bias));
    }
    set("attention_dropout", json!(0.0));
    if architecture == Architecture::Llama {
        set("mlp_bias", json!(facts.mlp_bias));
    }
    set("tie_word_embeddings", json!(facts.tied));
    // What a model of this width would be initialized with.
    set("initializer_range", json!((d_model as f64).powf(-0.5)));
    if architecture == Architecture::Llama {
        set("pretraining_tp", json!(1));
    }
    set("use_cache", json!(true));
    for (name, id) in [("bos", "bos"), ("eos", "eos"), ("pad", "padding")] {
        if let Some(id) = meta.u64(&format!("tokenizer.ggml.{id}_token_id"))? {
            set(&format!("{name}_token_id"), json!(id));
        }
    }
    set("torch_dtype", json!("float32"));
    Ok(Value::Object(config))
}

/// The size of one head, all of which must be rotated.
fn head_dim(
    meta: &Meta<'_>,
    architecture: Architecture,
    d_model: usize,
    n_heads: usize,
) -> Result<usize, ModelError> {
    let key = |suffix: &str| format!("{}.{suffix}", architecture.name());
    let head_dim = match meta.optional_size(&key("attention.key_length"))? {
        Some(head_dim) => head_dim,
        None if d_model.is_multiple_of(n_heads) => d_model / n_heads,
        None => {
            let expected = format!("a multiple of the {n_heads} heads");
            return Err(meta.bad(&key("embedding_length"), expected, d_model.to_string()));
        }
    };
    let rope_key = key("rope.dimension_count");
    match meta.optional_size(&rope_key)? {
        Some(rotated) if rotated != head_dim => {
            let expected = format!("the whole head of {head_dim} rotated");
            Err(meta.bad(&rope_key, expected, rotated.to_string()))
        }
        _ => Ok(head_dim),
    }
}
