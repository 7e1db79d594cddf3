//! The metadata that a `tokenizer.json` amounts to.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{super::pre_tokenizer::PreTokenizer, Checkpoint, no_gguf};
use crate::{
    error::{CheckpointError, WriteError},
    gguf::{GgufArray, GgufValue},
};

/// Kinds of token.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// The tokenizer's keys; none where the model has no tokenizer.
pub(super) fn of_tokenizer(
    checkpoint: &Checkpoint,
) -> Result<BTreeMap<String, GgufValue>, CheckpointError> {
    let side_files = checkpoint.side_files()?;
    let json = |name: &str| -> Option<Value> {
        let (_, bytes) = side_files.iter().find(|(file, _)| file == name)?;
        serde_json::from_slice(bytes).ok()
    };
    let Some(tokenizer) = json("tokenizer.json") else {
        return Ok(BTreeMap::new());
    };
    let settings = json("tokenizer_config.json").unwrap_or_default();
    let generation = json("generation_config.json").unwrap_or_default();
    let n_rows = checkpoint
        .shape("model.embed_tokens.weight")
        .and_then(|shape| shape.first().copied())
        .unwrap_or(0);
    let vocabulary = Vocabulary::read(&tokenizer, n_rows)?;
    let mut keys = BTreeMap::new();
    let mut set = |key: &str, value| keys.insert(format!("tokenizer.{key}"), value);
    set("ggml.model", GgufValue::String("gpt2".to_owned()));
    set(
        "ggml.pre",
        GgufValue::String(pre_tokenizer(&tokenizer)?.to_owned()),
    );
    let special = special_ids(checkpoint.config(), &settings, &generation, &vocabulary);
    for (name, id) in &special {
        set(&format!("ggml.{name}_token_id"), GgufValue::U32(*id));
    }
    let bos = special
        .iter()
        .find(|(name, _)| *name == "bos")
        .map(|(_, id)| *id);
    set(
        "ggml.add_bos_token",
        GgufValue::Bool(begins_with(&tokenizer["post_processor"], bos)),
    );
    set("ggml.add_space_prefix", GgufValue::Bool(false));
    set(
        "ggml.tokens",
        GgufValue::Array(GgufArray::String(vocabulary.tokens)),
    );
    set(
        "ggml.token_type",
        GgufValue::Array(GgufArray::I32(vocabulary.kinds)),
    );
    set(
        "ggml.merges",
        GgufValue::Array(GgufArray::String(merges(&tokenizer)?)),
    );
    let own_file = side_files
        .iter()
        .find(|(file, _)| file == "chat_template.jinja");
    let template = match own_file {
        Some((_, bytes)) => String::from_utf8(bytes.clone()).ok(),
        None => settings["chat_template"].as_str().map(str::to_owned),
    };
    if let Some(template) = template {
        set("chat_template", GgufValue::String(template));
    }
    Ok(keys)
}

/// Tokens by id.
struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<i32>,
}

impl Vocabulary {
    /// As many tokens as the embedding has rows: those without a text are marked as unused.
    fn read(tokenizer: &Value, n_rows: usize) -> Result<Self, WriteError> {
        let model = &tokenizer["model"];
        let (kind, vocabulary) = (
            model["type"].as_str().unwrap_or("BPE"),
            model["vocab"].as_object(),
        );
        let (Some(vocabulary), "BPE") = (vocabulary, kind) else {
            return Err(no_gguf("the tokenizer", "byte-level BPE", kind));
        };
        let tokens = (0..n_rows).map(|id| format!("[PAD{id}]")).collect();
        let mut all = Self {
            tokens,
            kinds: vec![UNUSED; n_rows],
        };
        for (text, id) in vocabulary {
            all.put(id, text, NORMAL)?;
        }
        for added in tokenizer["added_tokens"].as_array().into_iter().flatten() {
            let kind = match added["special"].as_bool() {
                Some(true) => CONTROL,
                _ => USER_DEFINED,
            };
            all.put(
                &added["id"],
                added["content"].as_str().unwrap_or_default(),
                kind,
            )?;
        }
        Ok(all)
    }

    fn put(&mut self, id: &Value, text: &str, kind: i32) -> Result<(), WriteError> {
        let n_rows = self.tokens.len();
        let place = id
            .as_u64()
            .and_then(|id| usize::try_from(id).ok())
            .filter(|id| *id < n_rows);
        let Some(place) = place else {
            let expected = format!("an id below the {n_rows} rows of the embedding");
            return Err(no_gguf(
                format!("token `{}`", crate::error::tame(text)),
                expected,
                &id.to_string(),
            ));
        };
        text.clone_into(&mut self.tokens[place]);
        self.kinds[place] = kind;
        Ok(())
    }

    fn id_of(&self, text: &str) -> Option<u32> {
        let id = self.tokens.iter().position(|token| token == text)?;
        u32::try_from(id).ok()
    }
}

/// The tokens with a part to play, by GGUF's names for the parts.
fn special_ids(
    config: &Value,
    settings: &Value,
    generation: &Value,
    vocabulary: &Vocabulary,
) -> Vec<(&'static str, u32)> {
    // A list of ends has the end of the text first, then the end of a turn.
    let ids = |value: &Value| -> Vec<u32> {
        let one_or_many = value
            .as_array()
            .map_or(std::slice::from_ref(value), Vec::as_slice);
        let ids = one_or_many.iter().filter_map(Value::as_u64);
        ids.filter_map(|id| u32::try_from(id).ok()).collect()
    };
    let of = |name: &str| -> Vec<u32> {
        let (id_key, text_key) = (format!("{name}_token_id"), format!("{name}_token"));
        let named = &settings[&text_key];
        let text = named.as_str().or_else(|| named["content"].as_str());
        let by_text = || {
            text.and_then(|text| vocabulary.id_of(text))
                .into_iter()
                .collect()
        };
        let found = [ids(&generation[&id_key]), by_text(), ids(&config[&id_key])];
        found
            .into_iter()
            .find(|ids| !ids.is_empty())
            .unwrap_or_default()
    };
    let mut parts = Vec::new();
    let mut add = |name, id: Option<&u32>| parts.extend(id.map(|id| (name, *id)));
    add("bos", of("bos").first());
    let ends = of("eos");
    add("eos", ends.first());
    add("eot", ends.get(1));
    add("padding", of("pad").first());
    add("unknown", of("unk").first());
    parts
}

/// llama.cpp's name for how text is cut.
fn pre_tokenizer(tokenizer: &Value) -> Result<&'static str, WriteError> {
    let composes = tokenizer["normalizer"]["type"] == "NFC";
    let ignores_merges = tokenizer["model"]["ignore_merges"]
        .as_bool()
        .unwrap_or(false);
    let known = PreTokenizer::of_json(&tokenizer["pre_tokenizer"], composes, ignores_merges);
    known.ok_or_else(|| {
        let expected = format!(
            "a pre-tokenizer that llama.cpp knows as {}",
            PreTokenizer::known_names()
        );
        no_gguf(
            "the tokenizer",
            expected,
            &tokenizer["pre_tokenizer"].to_string(),
        )
    })
}

/// Whether each text gets `bos` put before it.
fn begins_with(post_processor: &Value, bos: Option<u32>) -> bool {
    let Some(bos) = bos else {
        return false;
    };
    if let Some(parts) = post_processor["processors"].as_array() {
        return parts.iter().any(|part| begins_with(part, Some(bos)));
    }
    let name = &post_processor["single"][0]["SpecialToken"]["id"];
    let ids = name
        .as_str()
        .map(|name| &post_processor["special_tokens"][name]["ids"]);
    ids.is_some_and(|ids| ids[0] == bos)
}

fn merges(tokenizer: &Value) -> Result<Vec<String>, WriteError> {
    let merges = tokenizer["model"]["merges"].as_array();
    let texts = merges.into_iter().flatten().map(|merge| match merge {
        Value::String(text) => Some(text.clone()),
        Value::Array(pair) => {
            let (left, right) = (pair.first()?.as_str()?, pair.get(1)?.as_str()?);
            Some(format!("{left} {right}"))
        }
        _ => None,
    });
    let texts: Option<Vec<String>> = texts.collect();
    texts.ok_or_else(|| no_gguf("the merges of the tokenizer", "pairs of texts", "others"))
}
