//! Any opened model as a GGUF file.

mod metadata;
mod vocabulary;

use std::path::Path;

use super::{
    names::{Architecture, rope_permutation},
    rope_scaling::ROPE_FREQS,
};
use crate::{
    checkpoint::{Checkpoint, Storage},
    dtype::Dtype,
    encoding::encode_weight,
    error::{CheckpointError, WriteError},
    gguf::{
        GgmlType,
        writer::{GgufWriter, PlannedGguf},
    },
};

/// Writes an opened model as a GGUF file for llama.cpp: its weights, config and tokenizer.
///
/// Weights that are packed in a format of ggml keep their blocks. Other matrices are written in
/// `dtype` (`F32`, `F16` or `BF16`), vectors in `F32`. The rows of Q and K of a Llama are put in
/// llama.cpp's order. The bytes depend on the model and the dtype alone.
///
/// # Errors
/// [`WriteError::NoGguf`] for what the format, or llama.cpp, has no place for: another architecture or
/// tokenizer, a weight packed in another format. Files that cannot be read or written; the file at
/// `out` then is as it was.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use firebox_checkpoint::{Checkpoint, Dtype, write_gguf};
///
/// let packed = Checkpoint::open(Path::new("smollm2-q4_0"))?;
/// write_gguf(&packed, Path::new("smollm2-q4_0.gguf"), Dtype::F16)?;
/// # Ok::<(), firebox_checkpoint::CheckpointError>(())
/// ```
pub fn write_gguf(
    checkpoint: &Checkpoint,
    out: &Path,
    dtype: Dtype,
) -> Result<(), CheckpointError> {
    let kind = match dtype {
        Dtype::F32 => GgmlType::F32,
        Dtype::F16 => GgmlType::F16,
        Dtype::BF16 => GgmlType::BF16,
        found => {
            let name = "*".to_owned();
            return Err(WriteError::Dtype { name, found }.into());
        }
    };
    let architecture = metadata::architecture(checkpoint.config())?;
    let heads = metadata::heads(checkpoint.config())?;
    let mut tensors = Vec::new();
    for name in checkpoint.names() {
        let (gguf_name, permuted) = architecture
            .gguf_name(&name)
            .ok_or_else(|| no_gguf(format!("tensor `{name}`"), "a tensor of a decoder", &name))?;
        let shape = checkpoint.shape(&name).unwrap_or_default();
        let kind = match (shape.len(), packed_kind(checkpoint, &name)?) {
            (_, Some(packed)) => packed,
            (2, None) => kind,
            // llama.cpp computes with vectors in f32.
            _ => GgmlType::F32,
        };
        let planned = PlannedGguf {
            name: gguf_name,
            shape,
            kind,
        };
        tensors.push((name, planned, permuted.map(|which| heads.of(which))));
    }
    let mut plan: Vec<PlannedGguf> = tensors
        .iter()
        .map(|(_, planned, _)| planned.clone())
        .collect();
    let rope_factors = metadata::rope_factors(checkpoint.config(), architecture, heads)?;
    plan.extend(rope_factors.as_ref().map(|factors| PlannedGguf {
        name: ROPE_FREQS.to_owned(),
        shape: vec![factors.len()],
        kind: GgmlType::F32,
    }));
    let mut values = metadata::of_config(checkpoint, architecture, heads)?;
    values.extend(vocabulary::of_tokenizer(checkpoint)?);
    values.extend(metadata::of_encodings(&plan));
    let mut writer = GgufWriter::create(out, &values, plan)?;
    for (name, planned, permuted_heads) in &tensors {
        let bytes = bytes(checkpoint, name, planned.kind)?;
        let bytes = match permuted_heads {
            None => bytes,
            Some(n_heads) => rope_permutation(&bytes, planned.shape[0], *n_heads),
        };
        writer.write(out, &bytes)?;
    }
    if let Some(factors) = rope_factors {
        writer.write(out, &encode_weight(ROPE_FREQS, Dtype::F32, &factors)?)?;
    }
    writer.finish(out)
}

/// What a packed weight is in GGUF; `None` for one that is not packed.
fn packed_kind(checkpoint: &Checkpoint, name: &str) -> Result<Option<GgmlType>, CheckpointError> {
    let format = match checkpoint.storage(name) {
        Some(Storage::Packed(format)) => format,
        // The file's own blocks are taken as they are.
        Some(Storage::Gguf(kind)) => {
            return Ok(Some(kind).filter(|kind| kind.packed_format().is_some()));
        }
        _ => return Ok(None),
    };
    let kind = GgmlType::ALL
        .into_iter()
        .find(|kind| kind.packed_format() == Some(format));
    match kind {
        Some(kind) => Ok(Some(kind)),
        None => {
            let what = format!("weight `{name}`");
            let expected = "floats, or weights packed in a format of ggml's such as q4_0";
            Err(no_gguf(what, expected, format.name()).into())
        }
    }
}

fn bytes(checkpoint: &Checkpoint, name: &str, kind: GgmlType) -> Result<Vec<u8>, CheckpointError> {
    let dtype = match kind {
        GgmlType::F32 => Dtype::F32,
        GgmlType::F16 => Dtype::F16,
        GgmlType::BF16 => Dtype::BF16,
        _ => {
            let matrix = checkpoint.blocks(name)?;
            let blocks = matrix.as_ref().and_then(|matrix| {
                let part = matrix.parts().into_iter().next()?;
                Some(part.bytes.to_vec())
            });
            let missing = || no_gguf(format!("weight `{name}`"), "blocks of ggml", "none");
            return Ok(blocks.ok_or_else(missing)?);
        }
    };
    encode_weight(name, dtype, &checkpoint.tensor(name)?.data)
}

pub(super) fn no_gguf(
    what: impl Into<String>,
    expected: impl Into<String>,
    found: &str,
) -> WriteError {
    WriteError::NoGguf {
        what: what.into(),
        expected: expected.into(),
        found: crate::error::tame(found),
    }
}

#[cfg(test)]
mod tests;
