//! From weights on a device to files.

use std::path::Path;

use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
use firebox_model::{Llama, NamedWeight, SequenceClassifier};

use super::exit::UserError;

/// What a folder that is to be replaced may hold: what the program itself writes there.
const MODEL_FILES: [&str; 9] = [
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "LICENSE",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];
const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// What is about to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Model,
    Adapter,
}

/// Whether `out` can be written: it is not there yet, or holds only what is to be replaced, and is
/// not what is read. Asked before the work, so that hours of it are not lost to a name.
pub(crate) fn check_out(out: &Path, written: Written, source: &Path) -> anyhow::Result<()> {
    let name = out.display();
    let refuse = |expected: &str, found: String| {
        Err(UserError(format!(
            "--out `{name}`: expected {expected}, found {found} (hint: choose another name)"
        ))
        .into())
    };
    if let (Ok(out), Ok(source)) = (out.canonicalize(), source.canonicalize())
        && out == source
    {
        return refuse("another folder than the model's", "the model itself".into());
    }
    let own: &[&str] = match written {
        Written::Model => &MODEL_FILES,
        Written::Adapter => &ADAPTER_FILES,
    };
    match std::fs::read_dir(out) {
        Err(_) if out.exists() => refuse("a folder", "a file of that name".into()),
        // The folder is made beside its name and then takes it, so its parent must take files.
        Err(_) => {
            firebox_checkpoint::AtomicDir::create(out)?;
            Ok(())
        }
        Ok(entries) => {
            let names = entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned());
            match names.into_iter().find(|name| !own.contains(&name.as_str())) {
                Some(foreign) => refuse("a new or empty folder", format!("`{foreign}` in it")),
                None => Ok(()),
            }
        }
    }
}

/// Whether a model is asked for as a GGUF file: by the name.
pub(crate) fn is_gguf(out: &Path) -> bool {
    out.extension().is_some_and(|extension| extension == "gguf")
}

/// As [`check_out`], for a model that may also be a GGUF file.
pub(crate) fn check_model_out(out: &Path, source: &Path) -> anyhow::Result<()> {
    if !is_gguf(out) {
        return check_out(out, Written::Model, source);
    }
    let found = match (out.canonicalize(), source.canonicalize()) {
        (Ok(out), Ok(source)) if out == source => "the model itself",
        _ if out.is_dir() => "a folder of that name",
        _ => {
            // Whether a file can be made there is asked before the work.
            firebox_checkpoint::AtomicFile::create(out)?;
            return Ok(());
        }
    };
    let name = out.display();
    Err(UserError(format!(
        "--out `{name}`: expected a new file, found {found} (hint: choose another name)"
    ))
    .into())
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
    dtype.set_in(&mut config);
    writer.set_config(config);
    writer.copy_side_files(origin)?;
    Ok(NamedWeight::write_all(
        &model.named_weights(),
        writer,
        dtype,
    )?)
}

/// Writes a decoder with a new head, with the tokenizer of `origin`.
pub(crate) fn classifier(
    model: &SequenceClassifier,
    origin: &Checkpoint,
    out: &Path,
    dtype: Dtype,
) -> anyhow::Result<()> {
    let mut writer = HfWriter::create(out)?;
    let mut config = model.config_to_hf(origin.config());
    dtype.set_in(&mut config);
    writer.set_config(config);
    writer.copy_side_files(origin)?;
    Ok(NamedWeight::write_all(
        &model.named_weights(),
        writer,
        dtype,
    )?)
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
    dtype.set_in(&mut config);
    writer.set_config(config);
    for (name, bytes) in files {
        writer.set_side_file(name, bytes.clone());
    }
    Ok(NamedWeight::write_all(
        &model.named_weights(),
        writer,
        dtype,
    )?)
}
