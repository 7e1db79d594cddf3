//! `firebox quantize`.

use std::path::Path;

use firebox_checkpoint::{Checkpoint, Dtype, PackedLayout, write_gguf};
use firebox_quant::{
    Calibration, GptqConfig, Method, QuantConfig, QuantReport, quantize_calibrated,
    quantize_checkpoint,
};

use super::args::{CalibrationArgs, Globals, LayoutArg, MethodArg, QuantizeArgs};
use super::exit::UserError;
use super::model::ModelFiles;
use super::save;
use super::{data, output, progress};

pub(crate) fn run(globals: &Globals, args: &QuantizeArgs) -> anyhow::Result<()> {
    let files = ModelFiles::open(globals, &args.model)?;
    save::check_model_out(&args.out, files.checkpoint.path())?;
    let config = QuantConfig::projections(args.format)
        .with_rules(args.tensors.clone())
        .with_layout(match args.layout {
            LayoutArg::Firebox => PackedLayout::Firebox,
            LayoutArg::Bitsandbytes => PackedLayout::Bitsandbytes,
        });
    let report = match save::is_gguf(&args.out) {
        false => quantize(globals, args, &files, &config, &args.out)?,
        true => {
            // By way of a folder beside the file: GGUF lists tensors before it is known what they become.
            let parent = args
                .out
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let folder = tempfile::tempdir_in(parent.unwrap_or(Path::new(".")))?;
            let packed = folder.path().join("packed");
            let report = quantize(globals, args, &files, &config, &packed)?;
            write_gguf(&Checkpoint::open(&packed)?, &args.out, Dtype::F16)?;
            let bytes_after = std::fs::metadata(&args.out)?.len();
            QuantReport {
                bytes_after,
                ..report
            }
        }
    };
    output::print(globals.json, &report, || text(&report, args))
}

fn quantize(
    globals: &Globals,
    args: &QuantizeArgs,
    files: &ModelFiles,
    config: &QuantConfig,
    out: &Path,
) -> anyhow::Result<QuantReport> {
    let checkpoint = &files.checkpoint;
    Ok(match method(args) {
        None => {
            let bar = progress::counter("quantize", checkpoint.names().len());
            let on_tensor = |done, _| bar.set_position(done as u64);
            let report = quantize_checkpoint(checkpoint, config, out, on_tensor)?;
            bar.finish_and_clear();
            report
        }
        Some(method) => {
            let texts = calibration_texts(globals, files, &args.calibration)?;
            let calibration = Calibration { method, texts };
            let bar = progress::counter("quantize layers", 1);
            let on_layer = |done, all| {
                bar.set_length(all as u64);
                bar.set_position(done as u64);
            };
            let report = quantize_calibrated(checkpoint, config, &calibration, out, on_layer)?;
            bar.finish_and_clear();
            report
        }
    })
}

/// The method that looks at text, if one was asked for.
fn method(args: &QuantizeArgs) -> Option<Method> {
    match args.method {
        MethodArg::Rtn => None,
        MethodArg::Importance => Some(Method::Importance),
        MethodArg::Gptq => Some(Method::Gptq(GptqConfig {
            damping: args.calibration.damping,
            act_order: args.calibration.act_order,
        })),
    }
}

/// As many texts as have the tokens that were asked for, each cut where it is too long.
fn calibration_texts(
    globals: &Globals,
    files: &ModelFiles,
    args: &CalibrationArgs,
) -> anyhow::Result<Vec<Vec<u32>>> {
    let Some(source) = &args.calibration else {
        let text = "--calibration: expected text of the kind that the model will read, found none \
                    (hint: JSON Lines, MEDLINE XML or a text file; or use `--method rtn`)";
        return Err(UserError(text.to_owned()).into());
    };
    if !(args.damping >= 0.0 && args.damping.is_finite()) {
        let text = format!("--damping: expected 0 or more, found `{}`", args.damping);
        return Err(UserError(text).into());
    }
    let limits = data::ReadLimits {
        tokens: args.calibration_tokens,
        seq: args.calibration_seq,
        ..data::ReadLimits::default()
    };
    data::read_ids(globals, &files.tokenizer, source, limits)
}

fn text(report: &QuantReport, args: &QuantizeArgs) -> String {
    let worst = report.worst().map_or(String::new(), |worst| {
        format!(
            "; `{}` lost most, {:.1} %",
            worst.name,
            100.0 * worst.lost()
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
