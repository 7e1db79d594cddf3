//! `firebox pull`.

use serde::Serialize;

use super::args::{Globals, PullArgs};
use super::{model, output};

#[derive(Serialize)]
struct Pulled {
    source: String,
    path: String,
}

pub(crate) fn run(globals: &Globals, args: &PullArgs) -> anyhow::Result<()> {
    let path = model::fetch(globals, &args.source)?;
    let pulled = Pulled {
        source: args.source.clone(),
        path: path.display().to_string(),
    };
    output::print(globals.json, &pulled, || pulled.path.clone())
}
