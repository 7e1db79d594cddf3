//! `firebox loop`: once round, with a table and a report.

mod assemble;
mod embedded;
mod real;
mod round;
mod run;
mod run_folder;
mod serve_once;

use firebox_tensor::burn::tensor::Device;

use self::{run::Run, run_folder::RunFolder};
use super::args::{Globals, LoopArgs};
use super::output;

pub(crate) fn run(globals: &Globals, args: &LoopArgs) -> anyhow::Result<()> {
    firebox_tensor::host::keep_freed_memory();
    let device = globals.device.open()?;
    let folder = RunFolder::create(&args.runs)?;
    let result = go_round(globals, args, &device, &folder);
    if result.is_err() {
        folder.remove_if_empty();
    }
    result
}

fn go_round(
    globals: &Globals,
    args: &LoopArgs,
    device: &Device,
    folder: &RunFolder,
) -> anyhow::Result<()> {
    let mut run = Run::new(device, folder);
    let round = match (&args.model, &args.data) {
        (Some(model), Some(data)) => real::prepare(globals, args, model, data, &mut run)?,
        _ => embedded::prepare(args, &mut run)?,
    };
    let results = round.run(&mut run)?;
    let report = assemble::report(globals, args, run, results);
    folder.write("report.json", &serde_json::to_vec_pretty(&report)?)?;
    folder.write("report.html", crate::report::render(&report).as_bytes())?;
    eprintln!("report: {}", folder.path().join("report.html").display());
    output::print(globals.json, &report, || report.to_table())
}
