//! From weights on a device to files.

use std::path::Path;

use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
use firebox_model::Llama;

use super::exit::UserError;

/// Whether `out` can be written: it is not there, is empty, or holds what is to be replaced, which
/// `mark` tells. Asked before the work, so that hours of it are not lost to a name.
pub(crate) fn check_out(out: &Path, mark: &str) -> anyhow::Result<()> {
    let found = match std::fs::read_dir(out).map(Iterator::count) {
        Err(_) if out.exists() => "a file of that name".to_owned(),
        Err(_) => return Ok(()),
        Ok(n_entries) if n_entries == 0 || out.join(mark).exists() => return Ok(()),
        Ok(_) => format!("a folder without `{mark}`"),
    };
    let text = format!(
        "--out `{}`: expected a new or empty folder, found {found} (hint: choose another name)",
        out.display()
    );
    Err(UserError(text).into())
}

/// Writes a dense model as a Hugging Face directory with the tokenizer and templates of `origin`.
pub(crate) fn model(
    model: &Llama,
    origin: &Checkpoint,
    out: &Path,
    dtype: Dtype,
) -> anyhow::Result<()> {
    let mut writer = HfWriter::create(out)?;
    let mut config = origin.config().clone();
    // transformers 5 calls it `dtype`; the key that is there stays.
    let key = if config["dtype"].is_string() {
        "dtype"
    } else {
        "torch_dtype"
    };
    config[key] = dtype.torch_name().into();
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
