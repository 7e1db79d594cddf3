//! `firebox loop`: once round, with a table and a report.

mod assemble;
mod embedded;
mod real;
mod round;
mod run_folder;
mod serve_once;
mod stages;

use self::{run_folder::RunFolder, stages::Stages};
use super::args::{Globals, LoopArgs};
use super::output;

pub(crate) fn run(globals: &Globals, args: &LoopArgs) -> anyhow::Result<()> {
    let device = globals.device.open()?;
    let folder = RunFolder::create(&args.runs)?;
    let mut stages = Stages::default();
    let round = match (&args.model, &args.data) {
        (Some(model), Some(data)) => real::prepare(globals, args, model, data, &mut stages)?,
        _ => embedded::prepare(&device, args, &folder, &mut stages)?,
    };
    let title = round.title.clone();
    let results = round.run(&device, &folder, &mut stages)?;
    let report = assemble::report(globals, args, &folder, title, stages, results);
    folder.write("report.json", &serde_json::to_vec_pretty(&report)?)?;
    folder.write("report.html", crate::report::render(&report).as_bytes())?;
    eprintln!("report: {}", folder.path().join("report.html").display());
    output::print(globals.json, &report, || report.to_table())
}
