//! `firebox convert`.

use std::path::Path;

use firebox_checkpoint::{Checkpoint, Dtype};
use serde::Serialize;

use super::args::{ConvertArgs, DtypeArg, Globals};
use super::exit::UserError;
use super::save;
use super::{model, output, progress};

#[derive(Serialize)]
struct Converted {
    path: String,
    tensors: usize,
    bytes: u64,
}

pub(crate) fn run(globals: &Globals, args: &ConvertArgs) -> anyhow::Result<()> {
    let source = model::fetch(globals, &args.model)?;
    save::check_model_out(&args.out, &source)?;
    match args.rotate {
        None if save::is_gguf(&args.out) => {
            let checkpoint = Checkpoint::open(&source)?;
            firebox_checkpoint::write_gguf(&checkpoint, &args.out, dtype(args.dtype))?;
        }
        Some(_) if save::is_gguf(&args.out) => {
            let text = "--rotate: expected a folder as --out, found a GGUF file (hint: convert the folder \
                        afterwards)";
            return Err(UserError(text.to_owned()).into());
        }
        None => firebox_checkpoint::convert(&source, &args.out, dtype(args.dtype))?,
        Some(seed) => rotate(&source, seed, &args.out)?,
    }
    let written = Checkpoint::open(&args.out)?;
    let converted = Converted {
        path: args.out.display().to_string(),
        tensors: written.names().len(),
        bytes: written.size_bytes(),
    };
    output::print(globals.json, &converted, || {
        format!(
            "{}: {} tensors, {}",
            converted.path,
            converted.tensors,
            output::bytes(converted.bytes)
        )
    })
}

fn rotate(source: &Path, seed: u64, out: &Path) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::open(source)?;
    let bar = progress::counter("rotate", checkpoint.names().len());
    firebox_quant::rotate_checkpoint(&checkpoint, seed, out, |done, _| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    Ok(())
}

pub(crate) fn dtype(arg: DtypeArg) -> Dtype {
    match arg {
        DtypeArg::Bf16 => Dtype::BF16,
        DtypeArg::F16 => Dtype::F16,
        DtypeArg::F32 => Dtype::F32,
    }
}
