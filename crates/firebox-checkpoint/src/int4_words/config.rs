//! What `quantization_config` says of weights of GPTQ's and AWQ's programs.

use std::path::Path;

use firebox_tensor::packed::Int4Groups;
use serde_json::{Map, Value, json};

use super::Words;
use crate::error::{ModelError, tame};

/// The `quantization_config` of a model to be read.
pub(super) struct ConfigReader<'a> {
    pub(super) path: &'a Path,
    pub(super) config: &'a Value,
}

impl ConfigReader<'_> {
    /// How words are to be read.
    ///
    /// # Errors
    /// [`ModelError::Int4Words`] for other bits, groups or formats than those that are read.
    pub(super) fn words(&self, method: &str) -> Result<Words, ModelError> {
        self.number(["bits", "w_bit"], "4", |bits| bits == 4)?;
        let known = |size: u64| {
            let size = usize::try_from(size).ok();
            size.and_then(Int4Groups::asymmetric).is_some()
        };
        self.number(["group_size", "q_group_size"], "32, 64 or 128", known)?;
        if method == "awq" {
            return match self.text(["version", "format"], "gemm").as_str() {
                "gemm" => Ok(Words::Awq),
                other => Err(self.other("version", "`gemm`", other)),
            };
        }
        let pack_dtype = self.text(["pack_dtype"; 2], "int32");
        if pack_dtype != "int32" {
            return Err(self.other("pack_dtype", "`int32`", &pack_dtype));
        }
        let marlin = self.config["is_marlin_format"] == json!(true);
        let format = match marlin {
            true => "marlin".to_owned(),
            false => self.text(["checkpoint_format", "format"], "gptq"),
        };
        match format.as_str() {
            "gptq" => Ok(Words::GptqV1),
            "gptq_v2" => Ok(Words::GptqV2),
            other => Err(self.other("checkpoint_format", "`gptq` or `gptq_v2`", other)),
        }
    }

    /// Whether inputs were quantized in the order of their size.
    pub(super) fn is_reordered(&self) -> bool {
        self.config["desc_act"] == json!(true)
    }

    /// The first of two keys that is there.
    fn get(&self, keys: [&'static str; 2]) -> (&'static str, &Value) {
        let [key, older] = keys;
        match &self.config[key] {
            Value::Null if !self.config[older].is_null() => (older, &self.config[older]),
            value => (key, value),
        }
    }

    fn number(
        &self,
        keys: [&'static str; 2],
        expected: &str,
        fits: impl Fn(u64) -> bool,
    ) -> Result<(), ModelError> {
        let (key, value) = self.get(keys);
        match value.as_u64() {
            Some(number) if fits(number) => Ok(()),
            _ => Err(self.other(key, expected, &value.to_string())),
        }
    }

    fn text(&self, keys: [&'static str; 2], default: &str) -> String {
        match self.get(keys).1 {
            Value::Null => default.to_owned(),
            Value::String(text) => text.to_lowercase(),
            other => other.to_string(),
        }
    }

    fn other(&self, key: &str, expected: &str, found: &str) -> ModelError {
        ModelError::Int4Words {
            path: self.path.to_owned(),
            what: format!("`{key}` of `quantization_config`"),
            expected: expected.to_owned(),
            found: tame(found),
        }
    }
}

/// What loaders want in a config whose weights are packed so. `kept` are the modules whose weights
/// are not packed; `packs_head` tells whether the head's are.
pub(crate) fn config_json(
    words: Words,
    groups: Int4Groups,
    mut kept: Vec<String>,
    packs_head: bool,
) -> Value {
    if words == Words::Awq {
        kept.push("lm_head".to_owned());
        return json!({
            "quant_method": "awq",
            "version": "gemm",
            "bits": 4,
            "group_size": groups.size(),
            // Symmetric groups have zero points too, all of them 8.
            "zero_point": true,
            "modules_to_not_convert": kept,
        });
    }
    let mut config = json!({
        "quant_method": "gptq",
        "checkpoint_format": if words == Words::GptqV1 { "gptq" } else { "gptq_v2" },
        "bits": 4,
        "group_size": groups.size(),
        "sym": groups.is_symmetric(),
        // Of how the words lie, not of the order in which they were found.
        "desc_act": false,
        "lm_head": packs_head,
        "pack_dtype": "int32",
    });
    if !kept.is_empty() {
        let patterns = kept.iter().map(|module| {
            let pattern = format!("-:^{}$", module.replace('.', "\\."));
            (pattern, json!({}))
        });
        config["dynamic"] = Value::Object(patterns.collect::<Map<_, _>>());
    }
    config
}
