//! A language model in a GGUF file, seen as a Hugging Face checkpoint.

mod config;
mod meta;
mod names;
mod pre_tokenizer;
mod rope_scaling;
mod tokenizer;
mod write;

use std::{collections::BTreeMap, path::Path};

use firebox_tensor::packed::PackedFormat;
use serde_json::Value;

pub use self::write::write_gguf;

use self::{
    config::Facts,
    meta::Meta,
    names::{Architecture, Place, undo_rope_permutation},
};
use super::{GgmlType, Gguf, GgufTensor, GgufValue};
use crate::{
    error::{CheckpointError, ModelError},
    mapped::Mapped,
};

/// The frequency factors of Llama 3's RoPE: part of the config, not a weight of the model.
const ROPE_FREQS: &str = "rope_freqs.weight";

/// An opened GGUF model.
#[derive(Debug)]
pub(crate) struct GgufModel {
    file: Mapped,
    metadata: BTreeMap<String, GgufValue>,
    tensors: BTreeMap<String, Placed>,
    pub(crate) config: Value,
    pub(crate) generation_config: Option<Value>,
    pub(crate) tokenizer_config: Option<Value>,
    pub(crate) special_tokens_map: Option<Value>,
}

/// A quantized matrix as the file has it, but for the order of rows.
pub(crate) struct Blocks {
    pub(crate) format: PackedFormat,
    pub(crate) shape: [usize; 2],
    pub(crate) bytes: Vec<u8>,
}

/// A tensor under its Hugging Face name.
#[derive(Debug)]
struct Placed {
    tensor: GgufTensor,
    /// Heads whose rows are interleaved, if any.
    permuted_heads: Option<usize>,
}

impl GgufModel {
    pub(crate) fn open(file: Mapped) -> Result<Self, CheckpointError> {
        let path = file.path().to_owned();
        let Gguf { metadata, tensors } =
            Gguf::parse(file.bytes()).map_err(|error| CheckpointError::malformed(&path, error))?;
        let meta = Meta {
            path: &path,
            values: &metadata,
        };
        let architecture = Architecture::of(&meta)?;
        let rope_freqs = tensors
            .iter()
            .find(|tensor| tensor.name == ROPE_FREQS)
            .map(|tensor| tensor.decode(file.bytes()));
        let heads = config::n_heads(&meta, architecture)?;
        let tensors = place_all(tensors, architecture, heads, &path)?;
        let facts = Facts {
            tied: !tensors.contains_key("lm_head.weight"),
            n_embeddings: tensors
                .get("model.embed_tokens.weight")
                .and_then(|placed| placed.tensor.shape.first().copied()),
            attention_bias: has_bias(&tensors, "self_attn.q_proj.bias"),
            mlp_bias: has_bias(&tensors, "mlp.up_proj.bias"),
            rope_freqs,
        };
        let config = config::synthesize(&meta, architecture, &facts)?;
        let special = tokenizer::special_tokens(&meta)?;
        check_vocabulary(&meta, facts.n_embeddings)?;
        let generation_config = special
            .as_ref()
            .map(tokenizer::SpecialTokens::generation_config);
        let tokenizer_config = match &special {
            Some(special) => Some(special.tokenizer_config(&meta, architecture)?),
            None => None,
        };
        let special_tokens_map = special.as_ref().map(tokenizer::SpecialTokens::to_map);
        Ok(Self {
            file,
            tensors,
            config,
            generation_config,
            tokenizer_config,
            special_tokens_map,
            metadata,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.file.bytes().len() as u64
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|placed| &*placed.tensor.shape)
    }

    pub(crate) fn kind(&self, name: &str) -> Option<GgmlType> {
        self.tensors.get(name).map(|placed| placed.tensor.kind)
    }

    /// The decoded values in Hugging Face's order of rows.
    pub(crate) fn values(&self, name: &str) -> Result<Option<Vec<f32>>, CheckpointError> {
        let Some(Placed {
            tensor,
            permuted_heads,
        }) = self.tensors.get(name)
        else {
            return Ok(None);
        };
        let values = tensor.decode(self.file.unchanged_bytes()?);
        self.file.release(tensor.range.clone());
        Ok(Some(match permuted_heads {
            None => values,
            Some(n_heads) => undo_rope_permutation(&values, tensor.shape[0], *n_heads),
        }))
    }

    /// The blocks of a matrix in Hugging Face's order of rows, with their format, where it is one
    /// that they can be multiplied in.
    pub(crate) fn blocks(&self, name: &str) -> Result<Option<Blocks>, CheckpointError> {
        let Some(Placed {
            tensor,
            permuted_heads,
        }) = self.tensors.get(name)
        else {
            return Ok(None);
        };
        let Some(format) = tensor.kind.packed_format() else {
            return Ok(None);
        };
        let &[n_rows, n_columns] = &*tensor.shape else {
            return Ok(None);
        };
        let bytes = &self.file.unchanged_bytes()?[tensor.range.clone()];
        let blocks = match permuted_heads {
            None => bytes.to_vec(),
            Some(n_heads) => undo_rope_permutation(bytes, n_rows, *n_heads),
        };
        self.file.release(tensor.range.clone());
        Ok(Some(Blocks {
            format,
            shape: [n_rows, n_columns],
            bytes: blocks,
        }))
    }

    /// The tokenizer in the `tokenizers` file format, if the file has one.
    pub(crate) fn tokenizer_json(&self) -> Result<Option<Vec<u8>>, ModelError> {
        tokenizer::tokenizer_json(&Meta {
            path: self.path(),
            values: &self.metadata,
        })
    }
}

/// Every token has a row of the embedding.
fn check_vocabulary(meta: &Meta<'_>, n_embeddings: Option<usize>) -> Result<(), ModelError> {
    let n_tokens = tokenizer::n_tokens(meta)?;
    match n_embeddings {
        Some(n_rows) if n_rows < n_tokens => {
            let path = meta.path.to_owned();
            Err(ModelError::VocabularyTooLarge {
                n_tokens,
                n_rows,
                path,
            })
        }
        _ => Ok(()),
    }
}

fn has_bias(tensors: &BTreeMap<String, Placed>, suffix: &str) -> bool {
    tensors.contains_key(&format!("model.layers.0.{suffix}"))
}

/// Gives every tensor its Hugging Face name and checks that permuted rows divide into heads.
fn place_all(
    tensors: Vec<GgufTensor>,
    architecture: Architecture,
    heads: config::Heads,
    path: &Path,
) -> Result<BTreeMap<String, Placed>, ModelError> {
    let mut placed = BTreeMap::new();
    for tensor in tensors {
        if tensor.name == ROPE_FREQS {
            continue;
        }
        let Some(Place { name, permuted }) = architecture.place(&tensor.name) else {
            let (architecture, name) = (
                architecture.name().to_owned(),
                crate::error::tame(&tensor.name),
            );
            return Err(ModelError::UnexpectedTensor {
                path: path.to_owned(),
                architecture,
                name,
            });
        };
        let permuted_heads = permuted.map(|which| heads.of(which));
        if let Some(n_heads) = permuted_heads {
            let n_rows = tensor.shape.first().copied().unwrap_or(0);
            if !n_rows.is_multiple_of(2 * n_heads) {
                return Err(ModelError::HeadRows {
                    name,
                    n_heads,
                    n_rows,
                    path: path.to_owned(),
                });
            }
        }
        placed.insert(
            name,
            Placed {
                tensor,
                permuted_heads,
            },
        );
    }
    Ok(placed)
}

#[cfg(test)]
mod tests;
