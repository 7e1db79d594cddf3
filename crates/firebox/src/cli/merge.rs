//! `firebox merge`.

use std::path::Path;

use firebox_checkpoint::{Adapter, read_adapter};
use firebox_model::combine_adapters;
use serde::Serialize;

use super::args::{Globals, MergeArgs, ModelArgs};
use super::convert::dtype;
use super::exit::UserError;
use super::model::{Linears, Trainable};
use super::output;
use super::save::{self, Written};

#[derive(Serialize)]
struct Merged {
    path: String,
    bytes: u64,
}

pub(crate) fn run(globals: &Globals, args: &MergeArgs) -> anyhow::Result<()> {
    let model = ModelArgs {
        model: args.model.clone(),
        adapter: None,
    };
    let loaded = Trainable::open(globals, &model, Linears::Trainable)?;
    save::check_out(&args.out, Written::Model, loaded.files.checkpoint.path())?;
    let parts: anyhow::Result<Vec<(Adapter, f64)>> = args.adapter.iter().map(weighted).collect();
    let adapter = match parts?.as_slice() {
        // By itself it may be of a kind that does not add to others.
        [(adapter, 1.0)] => adapter.clone(),
        parts => combine_adapters(parts)?,
    };
    let model = loaded.model.load_adapter(&adapter)?.into_merged()?;
    save::model(
        &model,
        &loaded.files.checkpoint,
        &args.out,
        dtype(args.dtype),
    )?;
    let bytes = firebox_checkpoint::Checkpoint::open(&args.out)?.size_bytes();
    let merged = Merged {
        path: args.out.display().to_string(),
        bytes,
    };
    output::print(globals.json, &merged, || {
        format!("{}: {}", merged.path, output::bytes(bytes))
    })
}

/// `DIR`, or `DIR=WEIGHT`.
fn weighted(text: &String) -> anyhow::Result<(Adapter, f64)> {
    if Path::new(text).is_dir() {
        return Ok((read_adapter(Path::new(text))?, 1.0));
    }
    let (dir, weight) = match text.rsplit_once('=') {
        None => (text.as_str(), 1.0),
        Some((dir, weight)) => match weight.parse() {
            Ok(weight) => (dir, weight),
            Err(_) => {
                let text = format!(
                    "--adapter `{text}`: expected DIR or DIR=WEIGHT, as `runs/a/adapter=0.5`, found a \
                     weight of `{weight}`"
                );
                return Err(UserError(text).into());
            }
        },
    };
    Ok((read_adapter(Path::new(dir))?, weight))
}
