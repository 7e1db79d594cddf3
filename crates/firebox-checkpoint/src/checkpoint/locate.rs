//! Which files make up the model at a path.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::{CheckpointError, ModelError};

/// What there is to open.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The one safetensors file of a directory.
    Safetensors(PathBuf),
    /// The index of a directory with several.
    Index(PathBuf),
    /// A file whose bytes say what it is.
    File(PathBuf),
}

/// The format of a weight file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Safetensors,
    Gguf,
}

pub(super) fn locate(path: &Path) -> Result<Found, CheckpointError> {
    let read_error = |source| CheckpointError::Read {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(read_error)?.is_dir() {
        return Ok(Found::File(path.to_owned()));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(read_error)? {
        names.push(
            entry
                .map_err(read_error)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let ending = |suffix: &str| {
        names
            .iter()
            .filter(|name| name.ends_with(suffix))
            .collect::<Vec<_>>()
    };
    let found = if has("model.safetensors") {
        Found::Safetensors(path.join("model.safetensors"))
    } else if has("model.safetensors.index.json") {
        Found::Index(path.join("model.safetensors.index.json"))
    } else if let [only] = ending(".gguf")[..] {
        return Ok(Found::File(path.join(only)));
    } else if has("adapter_config.json") {
        return Err(ModelError::AdapterNotModel {
            path: path.to_owned(),
        }
        .into());
    } else if let Some(pickled) = names.iter().find(|name| is_pickled_name(Path::new(name))) {
        return Err(CheckpointError::Pickled {
            path: path.join(pickled),
        });
    } else {
        let hint = match ending(".gguf").len() {
            0 => "is this the directory of the model, and was it fetched in full?",
            _ => "give the path of one of the `.gguf` files",
        };
        return Err(missing(
            path,
            "`model.safetensors` or one `.gguf` file",
            names,
            hint,
        ));
    };
    if !has("config.json") {
        let hint = "fetch the whole directory of the model, not only its weights";
        return Err(missing(path, "`config.json`", names, hint));
    }
    Ok(found)
}

fn missing(
    dir: &Path,
    expected: &'static str,
    mut found: Vec<String>,
    hint: &'static str,
) -> CheckpointError {
    const MAX_LISTED: usize = 12;
    if found.len() > MAX_LISTED {
        found.truncate(MAX_LISTED);
        found.push("...".to_owned());
    }
    CheckpointError::MissingFile {
        dir: dir.to_owned(),
        expected,
        found,
        hint,
    }
}

/// What a file is, by its first bytes, and by its name where they do not tell.
pub(super) fn kind_of(path: &Path, bytes: &[u8]) -> Result<Kind, CheckpointError> {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    if bytes.starts_with(b"GGUF") {
        Ok(Kind::Gguf)
    } else if bytes.get(8) == Some(&b'{') {
        Ok(Kind::Safetensors)
    } else if is_pickled_name(path) || is_pickled(bytes) {
        Err(CheckpointError::Pickled {
            path: path.to_owned(),
        })
    } else {
        match extension {
            "gguf" => Ok(Kind::Gguf),
            "safetensors" => Ok(Kind::Safetensors),
            _ => {
                let found = bytes[..bytes.len().min(8)].to_vec();
                Err(CheckpointError::NotACheckpoint {
                    path: path.to_owned(),
                    found,
                })
            }
        }
    }
}

fn is_pickled_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(
        extension,
        Some("bin" | "pt" | "pth" | "ckpt" | "pkl" | "pickle")
    )
}

/// A zip archive, as `torch.save` writes it, or a bare pickle of protocol 2 to 5.
fn is_pickled(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..])
}
