//! The top of the page: what this is, and what came out.

use super::{escape::escape, ring};
use crate::loop_report::{LoopReport, Quality, StageKind, count, duration, size};

/// Title, explanation, ring and key figures.
pub(crate) fn section(report: &LoopReport) -> String {
    let tiles = [
        time(report),
        quality(report),
        smallest(report),
        speed(report),
    ];
    let tiles: String = tiles.into_iter().flatten().collect();
    format!(
        r#"<header>
<div class="intro">
<p class="over">firebox loop · {run_id} · {started_at}</p>
<h1>{title}</h1>
<p class="lead">A language model is a program that guesses how a text goes on. This page follows one once round the loop of its life: it <b>reads</b> text, <b>learns</b> to predict it, <b>adapts</b> to a task, is <b>packed</b> into fewer bits, is <b>tested</b> on text it has never seen, and <b>answers</b> from a server. Each stage says what it did, what it cost and whether it helped, and what it teaches goes into the next turn.</p>
<dl class="facts">
<div><dt>Model</dt><dd>{model}</dd></div>
<div><dt>Text</dt><dd>{data}</dd></div>
</dl>
</div>
{ring}</header>
<section class="tiles" aria-label="Key figures">
{tiles}</section>
"#,
        run_id = escape(&report.run_id),
        started_at = escape(&report.started_at),
        title = escape(&report.title),
        model = escape(&report.model),
        data = escape(&report.data),
        ring = ring::ring(&report.stages),
    )
}

fn tile(label: &str, figure: &str, remark: &str) -> String {
    format!(
        "<div class=\"tile\"><p class=\"label\">{label}</p><p class=\"figure\">{figure}</p>\
         <p class=\"remark\">{remark}</p></div>\n",
        label = escape(label),
        figure = escape(figure),
        remark = escape(remark),
    )
}

fn time(report: &LoopReport) -> Option<String> {
    let threads = match report.environment.n_threads {
        1 => "1 thread".to_owned(),
        n_threads => format!("{n_threads} threads"),
    };
    let memory = match report.peak_rss_bytes() {
        0 => String::new(),
        bytes => format!(", at most {} of memory", size(bytes)),
    };
    let remark = format!("on {threads}{memory}");
    Some(tile(
        "Once round the loop",
        &duration(report.seconds()),
        &remark,
    ))
}

/// The first version against the best one, in perplexity.
fn quality(report: &LoopReport) -> Option<String> {
    let first = report.quality.first()?;
    let best = report
        .quality
        .iter()
        .min_by(|a, b| a.nll.total_cmp(&b.nll))?;
    if best.nll >= first.nll {
        let remark = "as if choosing between so many tokens each time, on text it never saw";
        return Some(tile("Perplexity", &perplexity(first.nll), remark));
    }
    let figure = format!("{} → {}", perplexity(first.nll), perplexity(best.nll));
    let remark = format!(
        "on text it never saw, {} against {}; lower is better",
        best.name, first.name
    );
    Some(tile("Perplexity", &figure, &remark))
}

/// The largest version against the smallest.
fn smallest(report: &LoopReport) -> Option<String> {
    let sized = |quality: &Quality| Some((quality.size_bytes?, quality.name.clone()));
    let (largest, large_name) = report.quality.iter().filter_map(sized).max()?;
    let (smallest, small_name) = report.quality.iter().filter_map(sized).min()?;
    if smallest == 0 || smallest == largest {
        return None;
    }
    let figure = format!("{:.1}× smaller", largest as f64 / smallest as f64);
    let remark = format!(
        "{} as {large_name}, {} as {small_name}",
        size(largest),
        size(smallest)
    );
    Some(tile("On disk", &figure, &remark))
}

fn speed(report: &LoopReport) -> Option<String> {
    let serving = |kind| matches!(kind, StageKind::Serve);
    let stage = report.stages.iter().rfind(|stage| serving(stage.kind))?;
    let rate = stage.tokens_per_s?;
    let figure = format!("{} tokens/s", count(rate.round() as u64));
    Some(tile(
        "From the server",
        &figure,
        "written while answering questions",
    ))
}

/// `exp(nll)` with three figures.
pub(crate) fn perplexity(nll: f64) -> String {
    match nll.exp() {
        value @ ..9.995 => format!("{value:.2}"),
        value @ ..99.95 => format!("{value:.1}"),
        value if value < 1e15 => count(value.round() as u64),
        value => format!("{value:.1e}"),
    }
}
