//! One checkpoint format to another.

use std::path::Path;

use crate::{
    checkpoint::{Checkpoint, Storage},
    dtype::Dtype,
    encoding::is_float,
    error::{CheckpointError, WriteError},
    hf_writer::HfWriter,
};

/// Writes the model at `source` as a Hugging Face directory at `out`, its weights in `dtype`
/// (`F32`, `F16` or `BF16`), rounded to nearest, ties to even.
///
/// Quantized weights are decoded, the rows of Q and K of a GGUF file put in Hugging Face's order,
/// and its config, tokenizer and chat template written out. Tensors that are not floats are copied.
/// The bytes written depend on the source and the dtype alone.
///
/// # Errors
/// When the source cannot be opened, a weight is not finite or too large for `dtype`, the config is
/// missing, or `out` has files that would be lost.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use firebox_checkpoint::{Dtype, convert};
///
/// convert(Path::new("SmolLM2-135M-Instruct.gguf"), Path::new("smollm2"), Dtype::BF16)?;
/// # Ok::<(), firebox_checkpoint::CheckpointError>(())
/// ```
pub fn convert(source: &Path, out: &Path, dtype: Dtype) -> Result<(), CheckpointError> {
    if dtype.torch_name().is_none() {
        return Err(WriteError::Dtype {
            name: "*".to_owned(),
            found: dtype,
        }
        .into());
    }
    let checkpoint = Checkpoint::open(source)?;
    let mut config = checkpoint.config().clone();
    if !config.is_object() {
        return Err(CheckpointError::MissingFile {
            dir: source.parent().unwrap_or(source).to_owned(),
            expected: "`config.json` beside the weights",
            found: Vec::new(),
            hint: "give the model's directory, or put its config beside the file",
        });
    }
    dtype.set_in(&mut config);

    let mut writer = HfWriter::create(out)?;
    writer.set_config(config);
    writer.copy_side_files(&checkpoint)?;
    let names = checkpoint.names();
    for name in &names {
        let shape = checkpoint.shape(name).unwrap_or_default();
        match copied_dtype(&checkpoint, name) {
            Some(kept) => writer.declare_bytes(name, kept, &shape)?,
            None => writer.declare(name, dtype, &shape)?,
        }
    }
    for name in &names {
        if copied_dtype(&checkpoint, name).is_some() {
            if let Some((bytes, _)) = checkpoint.plain_bytes(name)? {
                writer.write_bytes(name, bytes)?;
            }
        } else {
            writer.write_tensor(name, &checkpoint.tensor(name)?.data)?;
        }
    }
    writer.finish()
}

/// The dtype of a tensor that is no weight, such as a table of positions.
fn copied_dtype(checkpoint: &Checkpoint, name: &str) -> Option<Dtype> {
    match checkpoint.storage(name) {
        Some(Storage::Plain(dtype)) if !is_float(dtype) => Some(dtype),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
