//! `firebox quantize`.

use firebox_quant::{QuantConfig, QuantReport, quantize_checkpoint};

use super::args::{Globals, QuantizeArgs};
use super::model::ModelFiles;
use super::save::{self, Written};
use super::{output, progress};

pub(crate) fn run(globals: &Globals, args: &QuantizeArgs) -> anyhow::Result<()> {
    let files = ModelFiles::open(globals, &args.model)?;
    save::check_out(&args.out, Written::Model, files.checkpoint.path())?;
    let config = QuantConfig::projections(args.format);
    let bar = progress::counter("quantize", files.checkpoint.names().len());
    let report = quantize_checkpoint(&files.checkpoint, &config, &args.out, |done, _| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    output::print(globals.json, &report, || text(&report, args))
}

fn text(report: &QuantReport, args: &QuantizeArgs) -> String {
    let worst = report.worst().map_or(String::new(), |worst| {
        format!(
            "; `{}` lost most, {:.1} %",
            worst.name,
            100.0 * worst.relative_error
        )
    });
    format!(
        "{}: {} weights as {}, {} to {}{worst}",
        args.out.display(),
        report.tensors.len(),
        report.format,
        output::bytes(report.bytes_before),
        output::bytes(report.bytes_after),
    )
}
