//! The tokenizer inside a GGUF file, as the files that Hugging Face puts beside a model.

use serde_json::{Map, Value, json};

use super::{
    meta::Meta,
    names::Architecture,
    pre_tokenizer::{PreTokenizer, byte_level},
};
use crate::{error::ModelError, side_files::pretty_json};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

/// Kinds of token in `tokenizer.ggml.token_type`.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// A byte-level BPE in the `tokenizers` file format; `None` if the file has no tokenizer.
pub(super) fn tokenizer_json(meta: &Meta<'_>) -> Result<Option<Vec<u8>>, ModelError> {
    let Some(model) = meta.str(MODEL)? else {
        return Ok(None);
    };
    if model != "gpt2" {
        return Err(unknown(
            meta,
            MODEL,
            "`gpt2` (byte-level BPE)".to_owned(),
            model,
        ));
    }
    let name = meta.str(PRE)?.unwrap_or("none");
    let pre_tokenizer = PreTokenizer::named(name)
        .ok_or_else(|| unknown(meta, PRE, PreTokenizer::known_names(), name))?;
    let tokens = meta.strings(TOKENS)?.ok_or_else(|| meta.missing(TOKENS))?;
    let merges = meta.strings(MERGES)?.ok_or_else(|| meta.missing(MERGES))?;
    let add_prefix_space = meta
        .bool("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(false);
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(meta, tokens)?,
        "normalizer": if pre_tokenizer.composes { json!({"type": "NFC"}) } else { Value::Null },
        "pre_tokenizer": pre_tokenizer.to_json(add_prefix_space),
        "post_processor": post_processor(meta, tokens)?,
        "decoder": byte_level(add_prefix_space, true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": pre_tokenizer.ignore_merges,
            "vocab": vocabulary(meta, tokens)?,
            "merges": merges,
        },
    });
    Ok(Some(pretty_json(&tokenizer)))
}

/// Tokens in the file.
pub(super) fn n_tokens(meta: &Meta<'_>) -> Result<usize, ModelError> {
    Ok(meta.strings(TOKENS)?.map_or(0, <[String]>::len))
}

fn unknown(meta: &Meta<'_>, key: &'static str, known: String, found: &str) -> ModelError {
    let (path, found) = (meta.path.to_owned(), crate::error::tame(found));
    ModelError::Tokenizer {
        path,
        key,
        known,
        found,
    }
}

fn vocabulary(meta: &Meta<'_>, tokens: &[String]) -> Result<Map<String, Value>, ModelError> {
    let mut vocabulary = Map::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if vocabulary.insert(token.clone(), json!(id)).is_some() {
            let found = format!("`{}` twice", crate::error::tame(token));
            return Err(meta.bad(TOKENS, "each token once", found));
        }
    }
    Ok(vocabulary)
}

/// Tokens that are found in the text before anything is cut.
fn added_tokens(meta: &Meta<'_>, tokens: &[String]) -> Result<Vec<Value>, ModelError> {
    let kinds = meta
        .i64s(TOKEN_TYPES)?
        .ok_or_else(|| meta.missing(TOKEN_TYPES))?;
    if kinds.len() != tokens.len() {
        let expected = format!("{} kinds, one for each token", tokens.len());
        return Err(meta.bad(TOKEN_TYPES, expected, kinds.len().to_string()));
    }
    let added = tokens
        .iter()
        .zip(kinds)
        .enumerate()
        .filter(|(_, (_, kind))| matches!(*kind, CONTROL | USER_DEFINED));
    Ok(added
        .map(|(id, (token, kind))| {
            json!({
                "id": id,
                "content": token,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": kind == CONTROL,
            })
        })
        .collect())
}

/// What puts the first token before each text, if the file asks for it.
fn post_processor(meta: &Meta<'_>, tokens: &[String]) -> Result<Value, ModelError> {
    if meta.bool("tokenizer.ggml.add_bos_token")? != Some(true) {
        return Ok(Value::Null);
    }
    let Some(bos) = special_token(meta, tokens, "bos")? else {
        return Ok(Value::Null);
    };
    let first = |type_id| json!({"SpecialToken": {"id": bos.text, "type_id": type_id}});
    let text = |name, type_id| json!({"Sequence": {"id": name, "type_id": type_id}});
    let mut special_tokens = Map::new();
    special_tokens.insert(
        bos.text.clone(),
        json!({"id": bos.text, "ids": [bos.id], "tokens": [bos.text]}),
    );
    Ok(json!({
        "type": "TemplateProcessing",
        "single": [first(0), text("A", 0)],
        "pair": [first(0), text("A", 0), first(1), text("B", 1)],
        "special_tokens": special_tokens,
    }))
}

/// A token with a part to play.
#[derive(Debug, Clone)]
struct SpecialToken {
    id: u64,
    text: String,
}

/// The tokens with a part to play.
#[derive(Debug)]
pub(super) struct SpecialTokens {
    bos: Option<SpecialToken>,
    eos: Option<SpecialToken>,
    /// The end of a turn, where it is not the end of the text.
    eot: Option<SpecialToken>,
    pad: Option<SpecialToken>,
    unk: Option<SpecialToken>,
}

/// `None` if the file has no tokenizer.
pub(super) fn special_tokens(meta: &Meta<'_>) -> Result<Option<SpecialTokens>, ModelError> {
    let Some(tokens) = meta.strings(TOKENS)? else {
        return Ok(None);
    };
    let token = |name| special_token(meta, tokens, name);
    Ok(Some(SpecialTokens {
        bos: token("bos")?,
        eos: token("eos")?,
        eot: token("eot")?,
        pad: token("padding")?,
        unk: token("unknown")?,
    }))
}

fn special_token(
    meta: &Meta<'_>,
    tokens: &[String],
    name: &str,
) -> Result<Option<SpecialToken>, ModelError> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    let Some(id) = meta.u64(&key)? else {
        return Ok(None);
    };
    match usize::try_from(id).ok().and_then(|id| tokens.get(id)) {
        Some(text) => Ok(Some(SpecialToken {
            id,
            text: text.clone(),
        })),
        None => Err(meta.bad(
            &key,
            format!("an id below {}", tokens.len()),
            id.to_string(),
        )),
    }
}

impl SpecialTokens {
    /// `special_tokens_map.json`.
    pub(super) fn to_map(&self) -> Value {
        let all = [
            ("bos", &self.bos),
            ("eos", &self.eos),
            ("pad", &self.pad),
            ("unk", &self.unk),
        ];
        let texts = all.into_iter().filter_map(|(name, token)| {
            token
                .as_ref()
                .map(|token| (format!("{name}_token"), json!(token.text)))
        });
        Value::Object(texts.collect())
    }

    /// `generation_config.json`: text ends at either end token, if there are two.
    pub(super) fn generation_config(&self) -> Value {
        let mut config = Map::new();
        let id = |token: &Option<SpecialToken>| token.as_ref().map(|token| token.id);
        let end = match (id(&self.eos), id(&self.eot)) {
            (Some(eos), Some(eot)) if eos != eot => Some(json!([eos, eot])),
            (eos, eot) => eos.or(eot).map(|id| json!(id)),
        };
        let bos = id(&self.bos).map(|id| json!(id));
        let pad = id(&self.pad).map(|id| json!(id));
        for (name, value) in [("bos", bos), ("eos", end), ("pad", pad)] {
            if let Some(value) = value {
                config.insert(format!("{name}_token_id"), value);
            }
        }
        config.insert("do_sample".to_owned(), json!(false));
        Value::Object(config)
    }

    /// `tokenizer_config.json`.
    pub(super) fn tokenizer_config(
        &self,
        meta: &Meta<'_>,
        architecture: Architecture,
    ) -> Result<Value, ModelError> {
        let add_prefix_space = meta
            .bool("tokenizer.ggml.add_space_prefix")?
            .unwrap_or(false);
        let mut config = Map::new();
        // The class that takes `tokenizer.json` as it stands.
        config.insert(
            "tokenizer_class".to_owned(),
            json!("PreTrainedTokenizerFast"),
        );
        config.insert("add_prefix_space".to_owned(), json!(add_prefix_space));
        config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
        let max_len = meta.size(&format!("{}.context_length", architecture.name()))?;
        config.insert("model_max_length".to_owned(), json!(max_len));
        if let Some(template) = meta.str(CHAT_TEMPLATE)? {
            config.insert("chat_template".to_owned(), json!(template));
        }
        if let Value::Object(special) = self.to_map() {
            config.extend(special);
        }
        Ok(Value::Object(config))
    }
}
