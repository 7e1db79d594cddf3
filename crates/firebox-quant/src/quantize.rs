//! Packing a model's projections, one tensor in memory at a time.

use std::path::Path;

use firebox_checkpoint::{Checkpoint, Dtype, HfWriter, Storage};
use firebox_tensor::packed::{PackError, PackedFormat, PackedMatrix};

use crate::config::{PROJECTIONS, QuantConfig};
use crate::error::QuantError;
use crate::report::{QuantReport, TensorReport, relative_error};

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
    config.rounding.check(config.format)?;
    let names = checkpoint.names();
    let mut writer = HfWriter::create(out)?;
    writer.set_config(checkpoint.config().clone());
    writer.copy_side_files(checkpoint)?;
    let dtype_of = |name: &str| kept_dtype(checkpoint, name);
    declare(checkpoint, config, &names, dtype_of, &mut writer)?;
    let mut tensors = Vec::new();
    for (done, name) in names.iter().enumerate() {
        let pack = |format, weight: &[f32], shape| config.rounding.pack(format, weight, shape);
        tensors.extend(write_tensor(checkpoint, config, name, &mut writer, pack)?);
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

/// Writes a tensor as it is, or packed.
pub(crate) fn write_tensor(
    checkpoint: &Checkpoint,
    config: &QuantConfig,
    name: &str,
    writer: &mut HfWriter,
    pack: impl Fn(PackedFormat, &[f32], [usize; 2]) -> Result<PackedMatrix, PackError>,
) -> Result<Option<TensorReport>, QuantError> {
    let host = checkpoint.tensor(name)?;
    let Some((format, shape)) = config.packs(checkpoint, name) else {
        writer.write_tensor(name, &host.data)?;
        return Ok(None);
    };
    let packed = pack(format, &host.data, shape).map_err(QuantError::of_weight(name))?;
    writer.write_packed(name, &packed)?;
    Ok(Some(TensorReport {
        name: name.to_owned(),
        format,
        shape,
        packed_bytes: packed.n_bytes() as u64,
        relative_error: relative_error(&host.data, &packed.unpack()),
        output_error: None,
    }))
}

/// The type of a tensor that is not packed. What is quantized in a GGUF file has no plain type: f32
/// holds it exactly.
pub(crate) fn kept_dtype(checkpoint: &Checkpoint, name: &str) -> Dtype {
    checkpoint.dtype(name).unwrap_or(Dtype::F32)
}

/// Tells the writer every tensor's name, type and shape.
pub(crate) fn declare(
    checkpoint: &Checkpoint,
    config: &QuantConfig,
    names: &[String],
    kept_dtype: impl Fn(&str) -> Dtype,
    writer: &mut HfWriter,
) -> Result<(), QuantError> {
    if let Some(rule) = config.unused_rule(checkpoint, names) {
        let rule = rule.to_string();
        return Err(QuantError::UnusedRule { rule });
    }
    writer.set_packed_layout(config.layout);
    let mut n_packed = 0;
    for name in names {
        if let Some(Storage::Packed(found)) = checkpoint.storage(name) {
            return Err(QuantError::AlreadyPacked {
                name: name.clone(),
                found: found.to_string(),
            });
        }
        match config.packs(checkpoint, name) {
            Some((format, shape)) => {
                writer.declare_packed(name, format, shape)?;
                n_packed += 1;
            }
            None => {
                writer.declare(
                    name,
                    kept_dtype(name),
                    &checkpoint.shape(name).unwrap_or_default(),
                )?;
            }
        }
    }
    match n_packed {
        0 => Err(QuantError::NothingToQuantize {
            pattern: PROJECTIONS.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
