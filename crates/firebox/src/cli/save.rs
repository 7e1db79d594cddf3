//! From weights on a device to files.

use std::path::Path;

use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
use firebox_model::Llama;

/// Writes a dense model as a Hugging Face directory with the tokenizer and templates of `origin`.
pub(crate) fn model(
    model: &Llama,
    origin: &Checkpoint,
    out: &Path,
    dtype: Dtype,
) -> anyhow::Result<()> {
    let mut writer = HfWriter::create(out)?;
    let mut config = origin.config().clone();
    config["torch_dtype"] = dtype.torch_name().into();
    writer.set_config(config);
    writer.copy_side_files(origin)?;
    weights(model, writer, dtype)
}

/// Writes a model made here: its config and the given files beside the weights.
pub(crate) fn new_model(
    model: &Llama,
    files: &[(&str, Vec<u8>)],
    out: &Path,
    dtype: Dtype,
) -> anyhow::Result<()> {
    let mut writer = HfWriter::create(out)?;
    let mut config = model.config().to_hf();
    config["torch_dtype"] = dtype.torch_name().into();
    writer.set_config(config);
    for (name, bytes) in files {
        writer.set_side_file(name, bytes.clone());
    }
    weights(model, writer, dtype)
}

fn weights(model: &Llama, mut writer: HfWriter, dtype: Dtype) -> anyhow::Result<()> {
    let weights = model.named_weights();
    for weight in &weights {
        writer.declare(&weight.name, dtype, &weight.shape)?;
    }
    for weight in &weights {
        writer.write_tensor(&weight.name, &weight.values())?;
    }
    Ok(writer.finish()?)
}
