//! Packing a model's projections, one tensor in memory at a time.

use std::path::Path;

use firebox_checkpoint::{Checkpoint, Dtype, HfWriter, Storage};
use firebox_tensor::packed::{PackedFormat, PackedMatrix};
use serde::{Deserialize, Serialize};

use crate::error::QuantError;
use crate::report::{QuantReport, TensorReport, relative_error};

/// What to pack, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuantConfig {
    /// The packed format.
    pub format: PackedFormat,
    /// Two-dimensional tensors whose name ends so are packed; the others stay as they are.
    pub suffix: String,
}

impl QuantConfig {
    /// Every projection of a decoder (`*_proj.weight`); embeddings, head and norms stay.
    pub fn projections(format: PackedFormat) -> Self {
        Self {
            format,
            suffix: "_proj.weight".to_owned(),
        }
    }

    fn packs(&self, checkpoint: &Checkpoint, name: &str) -> Option<[usize; 2]> {
        let shape = checkpoint.shape(name)?;
        let matrix = <[usize; 2]>::try_from(shape).ok()?;
        name.ends_with(&self.suffix).then_some(matrix)
    }
}

/// Packs `checkpoint` into a new directory `out`, whose files beside the weights are copied.
///
/// Tensors pass through memory one at a time. `on_tensor` is called after each with how many of how
/// many are done.
///
/// # Errors
/// [`QuantError`]: nothing to pack, packed already, a weight that is not finite, or files that
/// cannot be read or written. `out` then is as it was.
pub fn quantize_checkpoint(
    checkpoint: &Checkpoint,
    config: &QuantConfig,
    out: &Path,
    mut on_tensor: impl FnMut(usize, usize),
) -> Result<QuantReport, QuantError> {
    let names = checkpoint.names();
    let mut writer = HfWriter::create(out)?;
    writer.set_config(checkpoint.config().clone());
    writer.copy_side_files(checkpoint)?;
    declare(checkpoint, config, &names, &mut writer)?;
    let mut tensors = Vec::new();
    for (done, name) in names.iter().enumerate() {
        let host = checkpoint.tensor(name)?;
        match config.packs(checkpoint, name) {
            None => writer.write_tensor(name, &host.data)?,
            Some(shape) => {
                let packed = PackedMatrix::pack(config.format, &host.data, shape[0], shape[1])
                    .map_err(|source| QuantError::Pack {
                        name: name.clone(),
                        source,
                    })?;
                tensors.push(TensorReport {
                    name: name.clone(),
                    shape,
                    packed_bytes: packed.n_bytes() as u64,
                    relative_error: relative_error(&host.data, &packed.unpack()),
                });
                writer.write_packed(name, &packed)?;
            }
        }
        on_tensor(done + 1, names.len());
    }
    writer.finish()?;
    Ok(QuantReport {
        format: config.format,
        bytes_before: checkpoint.size_bytes(),
        bytes_after: Checkpoint::open(out)?.size_bytes(),
        tensors,
    })
}

/// Tells the writer every tensor's name, type and shape.
fn declare(
    checkpoint: &Checkpoint,
    config: &QuantConfig,
    names: &[String],
    writer: &mut HfWriter,
) -> Result<(), QuantError> {
    let mut n_packed = 0;
    for name in names {
        if let Some(Storage::Packed(found)) = checkpoint.storage(name) {
            return Err(QuantError::AlreadyPacked {
                name: name.clone(),
                found: found.to_string(),
            });
        }
        match config.packs(checkpoint, name) {
            Some(shape) => {
                writer.declare_packed(name, config.format, shape)?;
                n_packed += 1;
            }
            None => {
                // What is quantized in a GGUF file has no plain type: f32 holds it exactly.
                let dtype = checkpoint.dtype(name).unwrap_or(Dtype::F32);
                writer.declare(name, dtype, &checkpoint.shape(name).unwrap_or_default())?;
            }
        }
    }
    match n_packed {
        0 => Err(QuantError::NothingToQuantize {
            suffix: config.suffix.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
