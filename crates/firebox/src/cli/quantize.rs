//! `firebox quantize`.

mod budget;
mod check;
mod page;

use std::path::Path;
use std::time::Instant;

use firebox_checkpoint::{AtomicDir, Checkpoint, Dtype, PackedLayout, write_gguf};
use firebox_eval::DivergenceReport;
use firebox_model::{HostLlama, HostWeights};
use firebox_quant::{
    Allocation, Calibration, GptqConfig, Method, QuantConfig, QuantReport, Rounding, Scaling,
    quantize_calibrated, quantize_checkpoint,
};
use firebox_tensor::memory;
use serde::Serialize;

use super::args::{CalibrationArgs, Globals, LayoutArg, MethodArg, QuantizeArgs, ScalingArg};
use super::exit::UserError;
use super::model::ModelFiles;
use super::save;
use super::{bench, data, eval, output, progress};

/// What was done, and what it cost.
#[derive(Serialize)]
struct Quantized {
    /// The model, as it was named.
    name: String,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scaling: Option<Scaling>,
    /// What a budget chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation: Option<Allocation>,
    #[serde(flatten)]
    quantized: QuantReport,
    seconds: f64,
    /// Until the model was packed.
    peak_rss_bytes: u64,
    /// Beside the model, where texts were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    divergence: Option<DivergenceReport>,
    /// Of the model and of the packed one, where they were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_tokens_per_s: Option<[f64; 2]>,
}

pub(crate) fn run(globals: &Globals, args: &QuantizeArgs) -> anyhow::Result<()> {
    let files = ModelFiles::open(globals, &args.model)?;
    save::check_model_out(&args.out, files.checkpoint.path())?;
    let layout = match args.layout {
        LayoutArg::Firebox => PackedLayout::Firebox,
        LayoutArg::Bitsandbytes => PackedLayout::Bitsandbytes,
        LayoutArg::Gptq => PackedLayout::Gptq,
        LayoutArg::Awq => PackedLayout::Awq,
    };
    check::all(args, layout)?;
    let mut config = QuantConfig::projections(args.choices()[0])
        .with_rules(args.tensors.clone())
        .with_rounding(match args.method {
            MethodArg::Hqq => Rounding::HalfQuadratic,
            _ => Rounding::Nearest,
        })
        .with_layout(layout);
    let start = Instant::now();
    let texts = match method(args).is_some() || args.budget.budget.is_some() {
        true => calibration_texts(globals, &files, &args.calibration)?,
        false => Vec::new(),
    };
    let job = Job {
        globals,
        args,
        checkpoint: &files.checkpoint,
        texts,
    };
    let allocation = budget::allocate(&job, &config)?;
    if let Some(allocation) = &allocation {
        config.rules.extend(allocation.rules());
    }
    let quantized = job.write(&config)?;
    let mut report = Quantized {
        name: args.model.clone(),
        method: match args.method {
            MethodArg::Rtn => "rtn",
            MethodArg::Hqq => "hqq",
            MethodArg::Importance => "importance",
            MethodArg::Gptq => "gptq",
        },
        scaling: scaling(args),
        allocation,
        quantized,
        seconds: start.elapsed().as_secs_f64(),
        peak_rss_bytes: memory::process().peak_rss_bytes,
        divergence: None,
        decode_tokens_per_s: None,
    };
    if let Some(texts) = &args.evaluate {
        evaluate(globals, args, &files, texts, &mut report)?;
    }
    if let Some(path) = &args.report {
        firebox_checkpoint::write_atomic(path, page::render(&report).as_bytes())?;
    }
    output::print(globals.json, &report, || text(&report, args))
}

/// A model to be packed.
struct Job<'a> {
    globals: &'a Globals,
    args: &'a QuantizeArgs,
    checkpoint: &'a Checkpoint,
    /// Token ids of the calibration texts; none where nothing looks at them.
    texts: Vec<Vec<u32>>,
}

impl Job<'_> {
    /// Writes the packed model as a folder, or as a GGUF file.
    fn write(&self, config: &QuantConfig) -> anyhow::Result<QuantReport> {
        let out = &self.args.out;
        if !save::is_gguf(out) {
            return self.quantize(config, out);
        }
        // By way of a folder beside the file: GGUF lists tensors before it is known what they become.
        let folder = AtomicDir::create(&out.with_added_extension("packed"))?;
        let packed = folder.path().join("packed");
        let report = self.quantize(config, &packed)?;
        write_gguf(&Checkpoint::open(&packed)?, out, Dtype::F16)?;
        let bytes_after = std::fs::metadata(out)?.len();
        Ok(QuantReport {
            bytes_after,
            ..report
        })
    }

    fn quantize(&self, config: &QuantConfig, out: &Path) -> anyhow::Result<QuantReport> {
        let checkpoint = self.checkpoint;
        Ok(match method(self.args) {
            None => {
                let bar = progress::counter("quantize", checkpoint.names().len());
                let on_tensor = |done, _| bar.set_position(done as u64);
                let report = quantize_checkpoint(checkpoint, config, out, on_tensor)?;
                bar.finish_and_clear();
                report
            }
            Some(method) => {
                // Beside the target, under a name that says whose it is.
                let journal = self.args.out.with_added_extension("quantizing");
                let calibration = Calibration {
                    method,
                    scaling: scaling(self.args),
                    texts: self.texts.clone(),
                    device: self.globals.device.open()?,
                    journal: Some(journal),
                };
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
}

/// The method that looks at text, if one was asked for.
fn method(args: &QuantizeArgs) -> Option<Method> {
    match args.method {
        MethodArg::Rtn | MethodArg::Hqq => None,
        MethodArg::Importance => Some(Method::Importance),
        MethodArg::Gptq => Some(Method::Gptq(GptqConfig {
            damping: args.calibration.damping,
            act_order: args.calibration.act_order,
        })),
    }
}

fn scaling(args: &QuantizeArgs) -> Option<Scaling> {
    let strength = args.calibration.smooth_strength;
    args.calibration.scaling.map(|scaling| match scaling {
        ScalingArg::Awq => Scaling::Awq,
        ScalingArg::Smooth => Scaling::Smooth { strength },
    })
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
    data::read_ids(globals, files, source, limits)
}

/// Compares the packed model with the model: predictions on texts, and speed.
fn evaluate(
    globals: &Globals,
    args: &QuantizeArgs,
    files: &ModelFiles,
    texts: &str,
    report: &mut Quantized,
) -> anyhow::Result<()> {
    let limits = data::ReadLimits {
        texts: args.evaluate_texts,
        seq: args.evaluate_seq,
        ..data::ReadLimits::default()
    };
    let texts = data::read_ids(globals, files, texts, limits)?;
    let reference = HostLlama::load(&files.checkpoint, HostWeights::Stored)?;
    let packed = HostLlama::load(&Checkpoint::open(&args.out)?, HostWeights::Stored)?;
    let bar = progress::counter("compare", texts.len());
    let on_text = |done| bar.set_position(done as u64);
    report.divergence = Some(firebox_eval::divergence(
        &reference, &packed, &texts, on_text,
    )?);
    bar.finish_and_clear();
    let prompt: Vec<u32> = texts.iter().flatten().copied().take(32).collect();
    let speeds = [
        decode_rate(&reference, &prompt)?,
        decode_rate(&packed, &prompt)?,
    ];
    report.decode_tokens_per_s = Some(speeds);
    Ok(())
}

/// Tokens a second of one sequence: the better of two runs.
fn decode_rate(model: &HostLlama, prompt: &[u32]) -> anyhow::Result<f64> {
    const NEW_TOKENS: usize = 32;
    let mut best: f64 = 0.0;
    for _ in 0..2 {
        let [_, decode] = bench::rates(model, prompt, NEW_TOKENS, |_| String::new())?;
        best = best.max(decode);
    }
    Ok(best)
}

fn text(report: &Quantized, args: &QuantizeArgs) -> String {
    let quantized = &report.quantized;
    let worst = quantized.worst().map_or(String::new(), |worst| {
        format!(
            "; `{}` lost most, {:.1} %",
            worst.name,
            100.0 * worst.lost()
        )
    });
    let divergence = match &report.divergence {
        Some(divergence) => format!("\n{}", eval::divergence_text(divergence)),
        None => String::new(),
    };
    let formats = match &report.allocation {
        Some(allocation) => budget::counts(allocation),
        None => quantized.format.to_string(),
    };
    format!(
        "{}: {} weights as {formats}, {} to {}{worst}{divergence}",
        args.out.display(),
        quantized.tensors.len(),
        output::bytes(quantized.bytes_before),
        output::bytes(quantized.bytes_after),
    )
}
