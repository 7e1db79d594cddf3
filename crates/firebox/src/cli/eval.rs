//! `firebox eval`.

use super::args::{Globals, PerplexityArgs};
use super::model::LoadedModel;
use super::{output, tokenizer};

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
