//! `firebox convert`.

use firebox_checkpoint::Dtype;
use serde::Serialize;

use super::args::{ConvertArgs, DtypeArg, Globals};
use super::save::{self, Written};
use super::{model, output};

#[derive(Serialize)]
struct Converted {
    path: String,
    tensors: usize,
    bytes: u64,
}

pub(crate) fn run(globals: &Globals, args: &ConvertArgs) -> anyhow::Result<()> {
    let source = model::fetch(globals, &args.model)?;
    save::check_out(&args.out, Written::Model, &source)?;
    firebox_checkpoint::convert(&source, &args.out, dtype(args.dtype))?;
    let written = firebox_checkpoint::Checkpoint::open(&args.out)?;
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

pub(crate) fn dtype(arg: DtypeArg) -> Dtype {
    match arg {
        DtypeArg::Bf16 => Dtype::BF16,
        DtypeArg::F16 => Dtype::F16,
        DtypeArg::F32 => Dtype::F32,
    }
}
