//! What lies beside the weights: tokenizer, chat template, licence.

use serde_json::Value;

use super::{Checkpoint, Weights};
use crate::{
    error::CheckpointError,
    side_files::{SIDE_FILES, pretty_json, read_bounded},
};

impl Checkpoint {
    /// The bytes of a `tokenizer.json`, if the checkpoint has a tokenizer.
    ///
    /// # Errors
    /// When the tokenizer inside a GGUF file is of a kind that is not rebuilt.
    pub fn tokenizer_json(&self) -> Result<Option<Vec<u8>>, CheckpointError> {
        match (&self.weights, &self.side_dir) {
            (Weights::Gguf(model), _) => Ok(model.tokenizer_json()?),
            (_, Some(dir)) => {
                let path = dir.join("tokenizer.json");
                if path.is_file() {
                    read_bounded(&path).map(Some)
                } else {
                    Ok(None)
                }
            }
            (_, None) => Ok(None),
        }
    }

    /// The chat template, in Jinja: from `chat_template.jinja`, or else from the tokenizer's config.
    pub fn chat_template(&self) -> Option<String> {
        let file = self
            .side_dir
            .as_ref()
            .map(|dir| dir.join("chat_template.jinja"));
        if let Some(bytes) = file
            .filter(|file| file.is_file())
            .and_then(|file| read_bounded(&file).ok())
        {
            return String::from_utf8(bytes).ok();
        }
        match self.tokenizer_config.as_ref()?.get("chat_template")? {
            Value::String(template) => Some(template.clone()),
            // Several, by name.
            Value::Array(named) => named
                .iter()
                .find(|entry| entry["name"] == "default")
                .and_then(|entry| entry["template"].as_str())
                .map(str::to_owned),
            _ => None,
        }
    }

    /// The files beside the weights and the config: name and bytes.
    pub(crate) fn side_files(&self) -> Result<Vec<(String, Vec<u8>)>, CheckpointError> {
        let mut files = Vec::new();
        match (&self.weights, &self.side_dir) {
            (Weights::Gguf(model), _) => {
                let json = |value: &Option<Value>| value.as_ref().map(pretty_json);
                let all = [
                    ("generation_config.json", json(&model.generation_config)),
                    ("tokenizer.json", model.tokenizer_json()?),
                    ("tokenizer_config.json", json(&model.tokenizer_config)),
                    ("special_tokens_map.json", json(&model.special_tokens_map)),
                ];
                files.extend(
                    all.into_iter()
                        .filter_map(|(name, bytes)| Some((name.to_owned(), bytes?))),
                );
            }
            (_, Some(dir)) => {
                for name in SIDE_FILES {
                    let path = dir.join(name);
                    if path.is_file() {
                        files.push((name.to_owned(), read_bounded(&path)?));
                    }
                }
            }
            (_, None) => {}
        }
        Ok(files)
    }
}
