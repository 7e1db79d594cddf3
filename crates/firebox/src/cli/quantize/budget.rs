//! Formats chosen by a budget.

use firebox_quant::{Allocation, Budget, QuantConfig};

use super::Job;
use crate::cli::progress;

/// Tokens of one text: predictions far apart tell more than those behind each other.
const SEQ: usize = 128;

/// Chooses formats, if a budget was given.
pub(super) fn allocate(job: &Job<'_>, config: &QuantConfig) -> anyhow::Result<Option<Allocation>> {
    let Some(bytes) = job.args.budget.budget else {
        return Ok(None);
    };
    let mut n_left = job.args.budget.budget_tokens;
    let mut texts = job.texts.clone();
    for text in &mut texts {
        text.truncate(SEQ.min(n_left));
        n_left -= text.len();
    }
    texts.retain(|text| !text.is_empty());
    let budget = Budget {
        bytes: bytes.as_u64(),
        formats: job.args.choices(),
        texts,
        device: job.globals.device.open()?,
    };
    let bar = progress::counter("measure what rounding costs, layers", 1);
    let on_layer = |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let allocation = firebox_quant::allocate(job.checkpoint, config, &budget, on_layer)?;
    bar.finish_and_clear();
    Ok(Some(allocation))
}

/// How many weights got which format.
pub(super) fn counts(allocation: &Allocation) -> String {
    let counts = allocation.by_format().into_iter();
    let counts = counts.map(|(format, (n, _))| format!("{format} ({n})"));
    counts.collect::<Vec<_>>().join(", ")
}
