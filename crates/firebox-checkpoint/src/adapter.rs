//! LoRA adapters in PEFT's files: `adapter_config.json` and `adapter_model.safetensors`.

mod config;

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

pub use config::{AdapterConfig, TargetModules};

use crate::{
    atomic::{AtomicDir, write_error},
    checkpoint::HostTensor,
    dtype::Dtype,
    encoding::{Misfit, decode, encode},
    error::{CheckpointError, ModelError, WriteError},
    hf_writer::write_safetensors,
    mapped::Mapped,
    safetensors::{PlannedTensor, Shards},
    side_files::read_json_as,
};

const CONFIG_FILE: &str = "adapter_config.json";
const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// A LoRA adapter.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
///
/// use firebox_checkpoint::{Adapter, AdapterConfig, HostTensor, read_adapter, write_adapter};
///
/// let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
/// let lora_a = HostTensor { shape: vec![2, 3], data: vec![0.5; 6] };
/// let adapter = Adapter {
///     config: AdapterConfig::new(2, 4.0, ["q_proj"], "models/smollm2"),
///     tensors: BTreeMap::from([(name.to_owned(), lora_a)]),
/// };
/// let dir = tempfile::tempdir()?;
/// write_adapter(&dir.path().join("adapter"), &adapter)?;
/// assert_eq!(read_adapter(&dir.path().join("adapter"))?, adapter);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Rank, scale and targets.
    pub config: AdapterConfig,
    /// By PEFT's names: `base_model.model.` + module + `.lora_A.weight`, `[rank, in]`, and
    /// `.lora_B.weight`, `[out, rank]`.
    pub tensors: BTreeMap<String, HostTensor>,
}

/// Reads the adapter in a directory.
///
/// # Errors
/// When a file is missing, breaks a rule of its format or is pickled, or the adapter is not a LoRA.
pub fn read_adapter(dir: &Path) -> Result<Adapter, CheckpointError> {
    for name in [CONFIG_FILE, WEIGHTS_FILE] {
        if dir.join(name).is_file() {
            continue;
        }
        if dir.join("adapter_model.bin").is_file() {
            return Err(CheckpointError::Pickled {
                path: dir.join("adapter_model.bin"),
            });
        }
        let files = fs::read_dir(dir).map_err(|source| CheckpointError::Read {
            path: dir.to_owned(),
            source,
        })?;
        let mut found: Vec<String> = files
            .flatten()
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        return Err(CheckpointError::MissingFile {
            dir: dir.to_owned(),
            expected: "`adapter_config.json` and `adapter_model.safetensors`",
            found,
            hint: "give the directory of a PEFT adapter",
        });
    }
    let config: Value = read_json_as(&dir.join(CONFIG_FILE))?;
    let kind = config["peft_type"].as_str().unwrap_or("nothing");
    if kind != "LORA" {
        let (path, found) = (dir.to_owned(), crate::error::tame(kind));
        return Err(ModelError::AdapterKind { path, found }.into());
    }
    let config = serde_json::from_value(config).map_err(|source| CheckpointError::Json {
        path: dir.join(CONFIG_FILE),
        source,
    })?;
    let path = dir.join(WEIGHTS_FILE);
    // Adapters are overwritten while they train, so they are read, not mapped. The file's own length
    // bounds what is read.
    let bytes = fs::read(&path).map_err(|source| CheckpointError::Read {
        path: path.clone(),
        source,
    })?;
    let shards = Shards::single(Mapped::from_bytes(&path, bytes))?;
    let mut tensors = BTreeMap::new();
    for name in shards.names() {
        let Some((file, entry)) = shards.find(name) else {
            continue;
        };
        let data = decode(entry.dtype, &file.bytes()[entry.range.clone()]).ok_or_else(|| {
            CheckpointError::WrongDtype {
                name: name.clone(),
                found: entry.dtype,
                path: path.clone(),
            }
        })?;
        tensors.insert(
            name.clone(),
            HostTensor {
                shape: entry.shape.clone(),
                data,
            },
        );
    }
    Ok(Adapter { config, tensors })
}

/// Writes an adapter that PEFT loads: its config's keys and its tensor names, in `F32`.
/// The directory appears whole, replacing an older one with the same files.
///
/// # Errors
/// When a value is not finite or a shape does not fit, or the system refuses.
pub fn write_adapter(dir: &Path, adapter: &Adapter) -> Result<(), CheckpointError> {
    let new = AtomicDir::create(dir)?;
    let mut tensors = Vec::new();
    for (name, tensor) in &adapter.tensors {
        let (expected, found) = (tensor.shape.iter().product(), tensor.data.len());
        if found != expected {
            let name = name.clone();
            return Err(WriteError::Length {
                name,
                unit: "values",
                expected,
                found,
            }
            .into());
        }
        let bytes = match encode(Dtype::F32, &tensor.data) {
            Some(Ok(bytes)) => bytes,
            Some(Err(Misfit::NotFinite { index, value } | Misfit::Overflow { index, value })) => {
                return Err(CheckpointError::NotFinite {
                    name: name.clone(),
                    index,
                    value,
                });
            }
            None => Vec::new(),
        };
        let (name, shape, n_bytes) = (name.clone(), tensor.shape.clone(), bytes.len());
        tensors.push((
            PlannedTensor {
                name,
                dtype: Dtype::F32,
                shape,
                n_bytes,
            },
            bytes,
        ));
    }
    write_safetensors(&new.path().join(WEIGHTS_FILE), &tensors)?;
    let config = adapter.config.to_json();
    fs::write(new.path().join(CONFIG_FILE), format!("{config:#}"))
        .map_err(|source| write_error(&dir.join(CONFIG_FILE), source))?;
    new.commit()
}

#[cfg(test)]
mod tests;
