//! The small files beside the weights, read with a bound on their size.

use std::{fs::File, io::Read, path::Path};

use serde::de::DeserializeOwned;

use crate::error::CheckpointError;

/// Far above the largest index and the largest `tokenizer.json` (about 35 MB) in use.
const MAX_BYTES: u64 = 256 << 20;

/// What is copied from one checkpoint directory to another, besides weights and config.
pub(crate) const SIDE_FILES: [&str; 12] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
];

/// The bytes of a regular file of bounded size.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let error = |source| CheckpointError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(error)?;
    let found = file.metadata().map_err(error)?.len();
    if found > MAX_BYTES {
        return Err(CheckpointError::FileTooLarge {
            path: path.to_owned(),
            limit: MAX_BYTES,
            found,
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(error)?;
    Ok(bytes)
}

/// A JSON file.
pub(crate) fn read_json_as<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    serde_json::from_slice(&read_bounded(path)?).map_err(|source| CheckpointError::Json {
        path: path.to_owned(),
        source,
    })
}

/// A JSON file that may be absent.
pub(crate) fn read_json_if_present(
    path: &Path,
) -> Result<Option<serde_json::Value>, CheckpointError> {
    if path.is_file() {
        read_json_as(path).map(Some)
    } else {
        Ok(None)
    }
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False, indent=2)` with a newline, which is how
/// the files of Hugging Face checkpoints are laid out.
pub(crate) fn pretty_json(value: &serde_json::Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
