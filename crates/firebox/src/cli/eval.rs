//! `firebox eval`.

use firebox_eval::DivergenceReport;
use firebox_model::{CausalLm, HostLlama, HostWeights};

use super::args::{DivergenceArgs, Globals, PerplexityArgs};
use super::exit::UserError;
use super::model::{LoadedModel, ModelFiles};
use super::{data, output, progress, tokenizer};

pub(crate) fn perplexity(globals: &Globals, args: &PerplexityArgs) -> anyhow::Result<()> {
    let text = tokenizer::read_text(&args.text)?;
    let loaded = LoadedModel::open(globals, &args.model)?;
    let ids = loaded.files.tokenizer.encode_document(&text)?;
    let report = firebox_eval::nll(&loaded.model, &[ids], |_| ())?;
    output::print(globals.json, &report, || {
        format!(
            "NLL {:.4}, perplexity {:.3}, {} tokens",
            report.nll, report.perplexity, report.tokens
        )
    })
}

pub(crate) fn divergence(globals: &Globals, args: &DivergenceArgs) -> anyhow::Result<()> {
    let loaded = LoadedModel::open(globals, &args.model)?;
    let limits = data::ReadLimits {
        texts: args.limit.unwrap_or(usize::MAX),
        seq: args.seq,
        ..data::ReadLimits::default()
    };
    let texts = data::read_ids(globals, &loaded.files, &args.data, limits)?;
    let reference = ModelFiles::open(globals, &args.reference)?;
    let reference = HostLlama::load(&reference.checkpoint, HostWeights::F32)?;
    let (expected, found) = (
        reference.config().vocab_size,
        loaded.model.config().vocab_size,
    );
    if expected != found {
        let text = format!(
            "--reference: expected a model of the same vocabulary, found {expected} tokens beside {found} (hint: give the model that the other was made from)"
        );
        return Err(UserError(text).into());
    }
    let bar = progress::counter("compare", texts.len());
    let on_text = |done| bar.set_position(done as u64);
    let report = firebox_eval::divergence(&reference, &loaded.model, &texts, on_text)?;
    bar.finish_and_clear();
    output::print(globals.json, &report, || divergence_text(&report))
}

/// The report in a line.
pub(crate) fn divergence_text(report: &DivergenceReport) -> String {
    format!(
        "NLL {:.4} against {:.4}, KL divergence {:.5} nats, {:.2} % the same first token, {} tokens",
        report.nll,
        report.reference_nll,
        report.kl,
        100.0 * report.top1_agreement,
        report.tokens
    )
}
