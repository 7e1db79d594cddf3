//! An opened model, whatever its files: Hugging Face directory, safetensors file or GGUF file.

mod beside;
mod locate;
mod storage;

use std::path::{Path, PathBuf};

use firebox_tensor::packed::PackedMatrix;
use serde_json::Value;

pub use self::storage::Storage;

use self::locate::{Found, locate};
use crate::{
    dtype::Dtype,
    encoding,
    error::{CheckpointError, ModelError},
    gguf::model::GgufModel,
    mapped::Mapped,
    near_names::near_names,
    packed_layout::PackedIndex,
    safetensors::{Shards, TensorEntry},
    side_files::read_json_if_present,
};

/// A tensor decoded into memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Its shape. Weights are `[out, in]`, as PyTorch has them.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub data: Vec<f32>,
}

/// An opened model.
///
/// The files are mapped into memory, and their headers checked in full, when it is opened; a tensor
/// is decoded when it is asked for. Names, shapes and the order of rows are those of Hugging Face's
/// transformers, also where the file is a GGUF.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// let checkpoint = firebox_checkpoint::Checkpoint::open(Path::new("SmolLM2-135M-Instruct.gguf"))?;
/// println!("{} layers", checkpoint.config()["num_hidden_layers"]);
/// let norm = checkpoint.tensor("model.norm.weight")?;
/// println!("{:?} {:?}", norm.shape, &norm.data[..4]);
/// # Ok::<(), firebox_checkpoint::CheckpointError>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    weights: Weights,
    config: Value,
    generation_config: Option<Value>,
    tokenizer_config: Option<Value>,
    packed: PackedIndex,
    /// Where the side files lie, if they are files.
    side_dir: Option<PathBuf>,
}

#[derive(Debug)]
enum Weights {
    Safetensors(Shards),
    Gguf(Box<GgufModel>),
}

impl Checkpoint {
    /// Opens a Hugging Face directory (one `model.safetensors`, or shards under a
    /// `model.safetensors.index.json`), a `.safetensors` file, a `.gguf` file, or a directory with a
    /// single `.gguf` file.
    ///
    /// # Errors
    /// When there is no model at `path`, or any of its headers breaks a rule of its format.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let weights = match locate(path)? {
            Found::Safetensors(file) => Weights::Safetensors(Shards::single(Mapped::open(&file)?)?),
            Found::Index(index) => Weights::Safetensors(Shards::indexed(&index)?),
            Found::File(file) => weights_of(Mapped::open(&file)?)?,
        };
        let side_dir = if path.is_dir() {
            Some(path.to_owned())
        } else {
            path.parent().map(Path::to_owned)
        };
        Self::assemble(path, weights, side_dir)
    }

    /// Opens the bytes of a `.safetensors` or `.gguf` file. `path` only serves messages.
    ///
    /// # Errors
    /// When the bytes are neither, or break a rule of the format.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        Self::assemble(path, weights_of(Mapped::from_bytes(path, bytes))?, None)
    }

    fn assemble(
        path: &Path,
        weights: Weights,
        side_dir: Option<PathBuf>,
    ) -> Result<Self, CheckpointError> {
        let path = path.to_owned();
        if let Weights::Gguf(model) = weights {
            return Ok(Self {
                path,
                config: model.config.clone(),
                generation_config: model.generation_config.clone(),
                tokenizer_config: model.tokenizer_config.clone(),
                weights: Weights::Gguf(model),
                packed: PackedIndex::default(),
                side_dir: None,
            });
        }
        let read = |name| match &side_dir {
            Some(dir) => read_json_if_present(&dir.join(name)),
            None => Ok(None),
        };
        let config = read("config.json")?.unwrap_or(Value::Null);
        let packed = match &weights {
            Weights::Safetensors(shards) => PackedIndex::of(&config, shards, &path)?,
            Weights::Gguf(_) => PackedIndex::default(),
        };
        Ok(Self {
            packed,
            config,
            generation_config: read("generation_config.json")?,
            tokenizer_config: read("tokenizer_config.json")?,
            path,
            weights,
            side_dir,
        })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the weight files.
    pub fn size_bytes(&self) -> u64 {
        match &self.weights {
            Weights::Safetensors(shards) => shards.n_bytes(),
            Weights::Gguf(model) => model.n_bytes(),
        }
    }

    /// Hugging Face's `config.json`; of a GGUF file, what its metadata amount to; null for a bare
    /// safetensors file without one beside it.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Hugging Face's `generation_config.json`.
    pub fn generation_config(&self) -> Option<&Value> {
        self.generation_config.as_ref()
    }

    /// Hugging Face's `tokenizer_config.json`.
    pub fn tokenizer_config(&self) -> Option<&Value> {
        self.tokenizer_config.as_ref()
    }

    /// Every tensor's name, sorted. A packed tensor counts as one, under its own name.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.weights {
            Weights::Gguf(model) => model.names().cloned().collect(),
            Weights::Safetensors(shards) => {
                let plain = shards.names().filter(|name| !self.packed.has_part(name));
                plain.chain(self.packed.names()).cloned().collect()
            }
        };
        names.sort();
        names.dedup(); // A damaged file can have a tensor both packed and plain.
        names
    }

    /// A tensor's shape, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        if let Some(shape) = self.packed.shape(name) {
            return Some(shape.to_vec());
        }
        match &self.weights {
            Weights::Safetensors(shards) => shards.entry(name).map(|entry| entry.shape.clone()),
            Weights::Gguf(model) => model.shape(name).map(<[usize]>::to_vec),
        }
    }

    /// How a tensor is stored, if there is one of that name.
    pub fn storage(&self, name: &str) -> Option<Storage> {
        if let Some(storage) = self.packed.storage(name) {
            return Some(storage);
        }
        match &self.weights {
            Weights::Safetensors(shards) => {
                shards.entry(name).map(|entry| Storage::Plain(entry.dtype))
            }
            Weights::Gguf(model) => model.kind(name).map(Storage::of_gguf),
        }
    }

    /// A tensor's dtype; `None` if there is no tensor of that name, or it is quantized.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        match self.storage(name) {
            Some(Storage::Plain(dtype)) => Some(dtype),
            _ => None,
        }
    }

    /// Decodes a tensor, also a quantized one.
    ///
    /// # Errors
    /// When there is no tensor of that name (the text lists similar ones), its dtype is not a float,
    /// or the file has changed since it was opened.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, CheckpointError> {
        if let Some(matrix) = self.packed(name)? {
            let shape = vec![matrix.n_rows(), matrix.n_cols()];
            return Ok(HostTensor {
                shape,
                data: matrix.unpack(),
            });
        }
        match &self.weights {
            Weights::Gguf(model) => {
                let data = model.values(name)?.ok_or_else(|| self.missing(name))?;
                let shape = model.shape(name).unwrap_or_default().to_vec();
                Ok(HostTensor { shape, data })
            }
            Weights::Safetensors(shards) => {
                if let Some(data) = self.packed.decode(name, shards, &self.path)? {
                    let shape = self.shape(name).unwrap_or_default();
                    return Ok(HostTensor { shape, data });
                }
                let (file, entry) = shards.find(name).ok_or_else(|| self.missing(name))?;
                let bytes = &file.unchanged_bytes()?[entry.range.clone()];
                let data = encoding::decode(entry.dtype, bytes).ok_or_else(|| {
                    let (name, path) = (name.to_owned(), file.path().to_owned());
                    CheckpointError::WrongDtype {
                        name,
                        found: entry.dtype,
                        path,
                    }
                })?;
                file.release(entry.range.clone());
                Ok(HostTensor {
                    shape: entry.shape.clone(),
                    data,
                })
            }
        }
    }

    /// Decodes a tensor that must have a certain shape.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`], and when the shape is another.
    pub fn tensor_of_shape(
        &self,
        name: &str,
        expected: &[usize],
    ) -> Result<HostTensor, CheckpointError> {
        let found = self.shape(name).ok_or_else(|| self.missing(name))?;
        if found != expected {
            let (name, expected) = (name.to_owned(), expected.to_vec());
            let path = self.path.clone();
            return Err(CheckpointError::ShapeMismatch {
                name,
                expected,
                found,
                path,
            });
        }
        self.tensor(name)
    }

    /// A tensor that lies packed in safetensors, in any [`PackedLayout`](crate::PackedLayout), still
    /// packed; `None` if it is stored otherwise or not at all.
    ///
    /// # Errors
    /// When its parts are missing or do not fit together.
    pub fn packed(&self, name: &str) -> Result<Option<PackedMatrix>, CheckpointError> {
        match &self.weights {
            Weights::Safetensors(shards) => self.packed.load(name, shards, &self.path),
            Weights::Gguf(_) => Ok(None),
        }
    }

    /// A weight as it is stored, if that is a form in which it can be multiplied: packed in
    /// safetensors, or blocks in a GGUF file.
    ///
    /// # Errors
    /// As [`Checkpoint::packed`].
    pub fn blocks(&self, name: &str) -> Result<Option<PackedMatrix>, CheckpointError> {
        let Weights::Gguf(model) = &self.weights else {
            return self.packed(name);
        };
        let Some(blocks) = model.blocks(name)? else {
            return Ok(None);
        };
        let [n_rows, n_columns] = blocks.shape;
        let mut bytes = Some(blocks.bytes);
        let matrix = PackedMatrix::from_parts(blocks.format, n_rows, n_columns, |_| bytes.take());
        matrix.map(Some).map_err(|source| {
            let (name, path) = (name.to_owned(), self.path.clone());
            ModelError::Packed { name, path, source }.into()
        })
    }

    /// Checks that the embedding has a row for each of `n_tokens` tokens.
    ///
    /// # Errors
    /// When it has fewer.
    pub fn check_vocabulary(&self, n_tokens: usize) -> Result<(), CheckpointError> {
        let embedding = "model.embed_tokens.weight";
        let rows = self
            .shape(embedding)
            .and_then(|shape| shape.first().copied());
        match rows.ok_or_else(|| self.missing(embedding))? {
            n_rows if n_rows >= n_tokens => Ok(()),
            n_rows => {
                let path = self.path.clone();
                Err(ModelError::VocabularyTooLarge {
                    n_tokens,
                    n_rows,
                    path,
                }
                .into())
            }
        }
    }

    /// The bytes of a plain tensor of any dtype.
    pub(crate) fn plain_bytes(
        &self,
        name: &str,
    ) -> Result<Option<(&[u8], &TensorEntry)>, CheckpointError> {
        match &self.weights {
            Weights::Safetensors(shards) => match shards.find(name) {
                Some((file, entry)) => {
                    Ok(Some((&file.unchanged_bytes()?[entry.range.clone()], entry)))
                }
                None => Ok(None),
            },
            Weights::Gguf(_) => Ok(None),
        }
    }

    fn missing(&self, name: &str) -> CheckpointError {
        let near = near_names(name, self.names().iter());
        CheckpointError::MissingTensor {
            name: name.to_owned(),
            path: self.path.clone(),
            near,
        }
    }
}

fn weights_of(file: Mapped) -> Result<Weights, CheckpointError> {
    Ok(match locate::kind_of(file.path(), file.bytes())? {
        locate::Kind::Gguf => Weights::Gguf(Box::new(GgufModel::open(file)?)),
        locate::Kind::Safetensors => Weights::Safetensors(Shards::single(file)?),
    })
}

#[cfg(test)]
mod tests;
