//! How well each version of the model predicts the same held-out texts.

use super::{escape::escape, headline::perplexity};
use crate::loop_report::{LoopReport, Quality, size};

/// Smaller differences, in nats, are not worth a colour.
const NO_DIFFERENCE: f64 = 0.01;

/// One bar a version; nothing when none was scored.
pub(crate) fn section(report: &LoopReport) -> String {
    if report.quality.is_empty() {
        return String::new();
    }
    let largest_nll = largest(report.quality.iter().map(|quality| quality.nll));
    let sizes = report
        .quality
        .iter()
        .filter_map(|quality| quality.size_bytes);
    let largest_size = largest(sizes.map(|bytes| bytes as f64));
    let rows: String = report
        .quality
        .iter()
        .map(|quality| row(report, quality, largest_nll, largest_size))
        .collect();
    format!(
        r#"<section>
<h2>Did it help, and what did packing cost?</h2>
<p>Every version of the model reads the same texts, which no stage trained on. The bar is its mean surprise per token (NLL, shorter is better); perplexity says the same as a number of choices. Below it is the size of the weights on disk.</p>
<div class="bars">
{rows}</div>
</section>
"#
    )
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::MIN_POSITIVE, f64::max)
}

fn row(report: &LoopReport, quality: &Quality, largest_nll: f64, largest_size: f64) -> String {
    let bar = |class: &str, share: f64, text: String| {
        format!(
            "<div class=\"track\"><div class=\"bar {class}\" style=\"width:{width:.1}%\"></div>\
             <span>{text}</span></div>\n",
            width = (share * 100.0).clamp(0.5, 100.0),
        )
    };
    let nll_text = format!(
        "<b>{nll:.3}</b> nats · perplexity {perplexity}{difference}",
        nll = quality.nll,
        perplexity = perplexity(quality.nll),
        difference = difference(report, quality),
    );
    let size_bar = quality.size_bytes.map(|bytes| {
        let text = format!("<b>{}</b> on disk", size(bytes));
        bar("size", bytes as f64 / largest_size, text)
    });
    format!(
        "<div class=\"version\">\n<h3>{name}</h3>\n<div>\n{nll_bar}{size_bar}</div>\n</div>\n",
        name = escape(&quality.name),
        nll_bar = bar("nll", quality.nll / largest_nll, nll_text),
        size_bar = size_bar.unwrap_or_default(),
    )
}

/// Against the version that this one was made from.
fn difference(report: &LoopReport, quality: &Quality) -> String {
    let Some(name) = &quality.made_from else {
        return String::new();
    };
    let Some(base) = report.quality.iter().find(|base| base.name == *name) else {
        return String::new();
    };
    let difference = quality.nll - base.nll;
    let class = match difference.abs() {
        ..NO_DIFFERENCE => "same",
        _ if difference < 0.0 => "better",
        _ => "worse",
    };
    // A typographic minus, as wide as the plus.
    let sign = if difference <= 0.0 { '−' } else { '+' };
    format!(
        " · <span class=\"{class}\">{sign}{amount:.3} against {name}</span>",
        amount = difference.abs(),
        name = escape(name),
    )
}
