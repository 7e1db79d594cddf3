//! `firebox merge`.

use serde::Serialize;

use super::args::{Globals, MergeArgs, ModelArgs};
use super::convert::dtype;
use super::model::Trainable;
use super::output;
use super::save::{self, Written};

#[derive(Serialize)]
struct Merged {
    path: String,
    bytes: u64,
}

pub(crate) fn run(globals: &Globals, args: &MergeArgs) -> anyhow::Result<()> {
    let adapter = Some(args.adapter.clone());
    let loaded = Trainable::open(
        globals,
        &ModelArgs {
            model: args.model.clone(),
            adapter,
        },
    )?;
    save::check_out(&args.out, Written::Model, loaded.files.checkpoint.path())?;
    let model = loaded.model.into_merged()?;
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
