//! The metadata that a `config.json` amounts to.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::{config::Heads, rope_scaling::Llama3Scaling},
    Architecture, Checkpoint, GgmlType, PlannedGguf, no_gguf,
};
use crate::{error::WriteError, gguf::GgufValue};

type Metadata = BTreeMap<String, GgufValue>;

/// The architecture by the config's `model_type`.
pub(super) fn architecture(config: &Value) -> Result<Architecture, WriteError> {
    let found = config["model_type"].as_str().unwrap_or("none");
    let known = match found {
        // llama.cpp has it under Llama's name; a window it has not.
        "mistral" if config["sliding_window"].is_null() => Some(Architecture::Llama),
        found => Architecture::named(found),
    };
    known.ok_or_else(|| {
        let expected = "`llama`, `qwen2`, or `mistral` without a sliding window";
        no_gguf("`model_type`", expected, found)
    })
}

pub(super) fn heads(config: &Value) -> Result<Heads, WriteError> {
    let n_heads = size(config, "num_attention_heads")?;
    let n_kv_heads = match config["num_key_value_heads"].is_null() {
        true => n_heads,
        false => size(config, "num_key_value_heads")?,
    };
    Ok(Heads {
        n_heads,
        n_kv_heads,
    })
}

/// The model's own keys.
pub(super) fn of_config(
    checkpoint: &Checkpoint,
    architecture: Architecture,
    heads: Heads,
) -> Result<Metadata, WriteError> {
    let config = checkpoint.config();
    let mut metadata = Metadata::new();
    let name = architecture.name();
    let text = |text: &str| GgufValue::String(text.to_owned());
    metadata.insert("general.architecture".to_owned(), text(name));
    let mut set = |key: &str, value: GgufValue| metadata.insert(format!("{name}.{key}"), value);
    let head_dim = head_dim(config, heads)?;
    for (key, field) in [
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("feed_forward_length", "intermediate_size"),
        ("context_length", "max_position_embeddings"),
        ("vocab_size", "vocab_size"),
    ] {
        set(key, whole(size(config, field)?));
    }
    set("attention.head_count", whole(heads.n_heads));
    set("attention.head_count_kv", whole(heads.n_kv_heads));
    set("attention.key_length", whole(head_dim));
    set("attention.value_length", whole(head_dim));
    set("rope.dimension_count", whole(head_dim));
    let eps = float(config, "rms_norm_eps")?.unwrap_or(1e-6);
    set(
        "attention.layer_norm_rms_epsilon",
        GgufValue::F32(eps as f32),
    );
    set("rope.freq_base", GgufValue::F32(rope_base(config)? as f32));
    let scaling = rope_scaling(config);
    match rope_kind(scaling) {
        // Llama 3's are a tensor of factors.
        None | Some("default" | "llama3") => {}
        Some(kind @ ("linear" | "yarn")) => {
            set("rope.scaling.type", text(kind));
            let factor = float(scaling, "factor")?.unwrap_or(1.0);
            set("rope.scaling.factor", GgufValue::F32(factor as f32));
            if kind == "yarn" {
                let original = size(scaling, "original_max_position_embeddings")?;
                set("rope.scaling.original_context_length", whole(original));
            }
        }
        Some(other) => {
            let expected = "`llama3`, `linear`, `yarn` or none";
            return Err(no_gguf("`rope_scaling`", expected, other));
        }
    }
    Ok(metadata)
}

/// What the frequencies of Llama 3's scaling are divided by; `None` for other scalings, and where
/// nothing is scaled.
pub(super) fn rope_factors(
    config: &Value,
    architecture: Architecture,
    heads: Heads,
) -> Result<Option<Vec<f32>>, WriteError> {
    let scaling = rope_scaling(config);
    if rope_kind(scaling) != Some("llama3") {
        return Ok(None);
    }
    if architecture != Architecture::Llama {
        let expected = "`llama3` in a Llama alone: llama.cpp reads its factors nowhere else";
        return Err(no_gguf("`rope_scaling`", expected, architecture.name()));
    }
    let positive = |field: &str| match float(scaling, field)? {
        Some(x) if x > 0.0 => Ok(x),
        _ => {
            let found = scaling[field].to_string();
            Err(no_gguf(format!("`{field}`"), "a positive number", &found))
        }
    };
    let factor = positive("factor")?;
    let (low, high) = (positive("low_freq_factor")?, positive("high_freq_factor")?);
    let original = positive("original_max_position_embeddings")?;
    let llama3 = Llama3Scaling::new(factor, [low, high], original).ok_or_else(|| {
        let found = scaling["low_freq_factor"].to_string();
        no_gguf("`low_freq_factor`", "less than `high_freq_factor`", &found)
    })?;
    let (base, head_dim) = (rope_base(config)?, head_dim(config, heads)?);
    match factor {
        1.0 => Ok(None),
        _ => llama3
            .told_divisors(base, head_dim)
            .map(Some)
            .ok_or_else(|| {
                let expected = "scaling that can be told from its factors";
                no_gguf("`rope_scaling`", expected, &scaling.to_string())
            }),
    }
}

fn head_dim(config: &Value, heads: Heads) -> Result<usize, WriteError> {
    match config["head_dim"].is_null() {
        true => Ok(size(config, "hidden_size")? / heads.n_heads),
        false => size(config, "head_dim"),
    }
}

/// It stands at the top, or (transformers 5) with the scaling.
fn rope_base(config: &Value) -> Result<f64, WriteError> {
    let beside = float(&config["rope_parameters"], "rope_theta")?;
    let base = beside.or(float(config, "rope_theta")?);
    Ok(base.unwrap_or(10_000.0))
}

fn rope_scaling(config: &Value) -> &Value {
    let parameters = &config["rope_parameters"];
    match parameters.is_object() {
        true => parameters,
        false => &config["rope_scaling"],
    }
}

fn rope_kind(scaling: &Value) -> Option<&str> {
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type"));
    kind.and_then(Value::as_str)
}

/// What llama.cpp wants to know of the weights' encodings.
pub(super) fn of_encodings(plan: &[PlannedGguf]) -> Metadata {
    let mut bytes: BTreeMap<u32, (usize, GgmlType)> = BTreeMap::new();
    for tensor in plan {
        let sum = bytes.entry(tensor.kind.id()).or_insert((0, tensor.kind));
        sum.0 += tensor.shape.iter().product::<usize>();
    }
    let most = bytes
        .values()
        .max_by_key(|(n, _)| *n)
        .map(|(_, kind)| *kind);
    // llama.cpp's `llama_ftype`: what most of the model is.
    let file_type = match most {
        Some(GgmlType::F16) => 1,
        Some(GgmlType::Q4_0) => 2,
        Some(GgmlType::Q4_1) => 3,
        Some(GgmlType::Q8_0) => 7,
        Some(GgmlType::Q5_0) => 8,
        Some(GgmlType::Q5_1) => 9,
        Some(GgmlType::Q4K) => 15,
        Some(GgmlType::Q5K) => 17,
        Some(GgmlType::Q6K) => 18,
        Some(GgmlType::BF16) => 32,
        Some(GgmlType::F32) | None => 0,
    };
    let keys = [
        ("general.file_type", file_type),
        ("general.quantization_version", 2),
    ];
    keys.map(|(key, value)| (key.to_owned(), GgufValue::U32(value)))
        .into()
}

/// A size as GGUF has it.
fn whole(n: usize) -> GgufValue {
    GgufValue::U32(u32::try_from(n).unwrap_or(u32::MAX))
}

fn size(config: &Value, field: &str) -> Result<usize, WriteError> {
    let found = &config[field];
    let size = found
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n > 0);
    size.map(|n| n as usize).ok_or_else(|| {
        no_gguf(
            format!("`{field}` of the config"),
            "a whole number above 0",
            &found.to_string(),
        )
    })
}

fn float(config: &Value, field: &str) -> Result<Option<f64>, WriteError> {
    match &config[field] {
        Value::Null => Ok(None),
        found => found.as_f64().map(Some).ok_or_else(|| {
            no_gguf(
                format!("`{field}` of the config"),
                "a number",
                &found.to_string(),
            )
        }),
    }
}
