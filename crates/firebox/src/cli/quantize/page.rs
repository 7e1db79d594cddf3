//! The report of `quantize` as a page: one file, nothing fetched, nothing run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use firebox_quant::TensorReport;
use firebox_tensor::packed::PackedFormat;

use super::Quantized;
use crate::cli::output::bytes;
use crate::report::{Bar, bars, escape, section, shell};

/// Weights in the table of those that lost most.
const WORST: usize = 12;

/// The whole page.
pub(super) fn render(report: &Quantized) -> String {
    let body = [
        headline(report),
        quality(report),
        speed(report),
        layers(report),
        allocation(report),
        worst(report),
    ];
    shell(&format!("Quantizing · {}", report.name), &body.concat())
}

fn headline(report: &Quantized) -> String {
    let quantized = &report.quantized;
    let (weights, packed) = quantized
        .tensors
        .iter()
        .fold((0, 0), |(weights, packed), tensor| {
            (
                weights + tensor.shape[0] * tensor.shape[1],
                packed + tensor.packed_bytes,
            )
        });
    let formats = match &report.allocation {
        Some(_) => "in formats that a budget chose".to_owned(),
        None => format!("most of them as <code>{}</code>", quantized.format),
    };
    format!(
        "<section>\n<h1>Quantized: {name}</h1>\n<p>{n} weights packed by <code>{method}</code>, {formats}: \
         {before} became {after}. The packed weights take {bits:.3} bits each. It took {seconds:.0} s \
         and {peak} of memory at most.</p>\n</section>\n",
        name = escape(&report.name),
        n = quantized.tensors.len(),
        method = report.method,
        before = bytes(quantized.bytes_before),
        after = bytes(quantized.bytes_after),
        bits = packed as f64 * 8.0 / weights.max(1) as f64,
        seconds = report.seconds,
        peak = bytes(report.peak_rss_bytes),
    )
}

fn quality(report: &Quantized) -> String {
    let Some(divergence) = &report.divergence else {
        return section(
            "How well it still predicts",
            "Not measured: `--evaluate TEXTS` compares the packed model with the model on texts of yours.",
            "",
        );
    };
    let rows = [
        (
            "NLL a token, nats",
            divergence.reference_nll,
            divergence.nll,
        ),
        (
            "Perplexity",
            divergence.reference_nll.exp(),
            divergence.nll.exp(),
        ),
    ];
    let mut table =
        "<table class=\"figures\">\n<tr><th></th><th>model</th><th>packed</th></tr>\n".to_owned();
    for (name, before, after) in rows {
        let _ = writeln!(
            table,
            "<tr><td>{name}</td><td>{before:.4}</td><td>{after:.4}</td></tr>"
        );
    }
    table.push_str("</table>\n");
    let text = format!(
        "On {} tokens that calibration did not see, if you chose them so. The packed model's next-token \
         distribution diverges from the model's by {:.4} nats (Kullback-Leibler), and {:.1} % of the time both \
         expect the same token most.",
        divergence.tokens,
        divergence.kl,
        100.0 * divergence.top1_agreement
    );
    section("How well it still predicts", &text, &table)
}

fn speed(report: &Quantized) -> String {
    let Some([before, after]) = report.decode_tokens_per_s else {
        return String::new();
    };
    let bar = |label: &str, value: f64| Bar {
        label: label.to_owned(),
        value,
        text: format!("{value:.0} tokens/s"),
    };
    section(
        "How fast it writes",
        "One sequence, after a short prompt, on this machine; the model as its files hold it.",
        &bars(
            "Tokens a second",
            &[bar("model", before), bar("packed", after)],
        ),
    )
}

/// Mean error of each layer's weights.
fn layers(report: &Quantized) -> String {
    let mut sums: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
    for tensor in &report.quantized.tensors {
        if let Some(layer) = layer_of(&tensor.name) {
            let sum = sums.entry(layer).or_default();
            *sum = (sum.0 + tensor.lost(), sum.1 + 1);
        }
    }
    let rows: Vec<Bar> = sums
        .into_iter()
        .map(|(layer, (sum, n))| {
            let value = sum / n as f64;
            Bar {
                label: format!("layer {layer}"),
                value,
                text: format!("{:.2} %", 100.0 * value),
            }
        })
        .collect();
    let of_outputs = report
        .quantized
        .tensors
        .iter()
        .any(|tensor| tensor.output_error.is_some());
    let text = match of_outputs {
        true => {
            "Mean over its weights of ‖(W − Ŵ) X‖ / ‖W X‖: what the weight computes for the calibration text."
        }
        false => {
            "Mean over its weights of ‖W − Ŵ‖ / ‖W‖: without calibration text, what a weight computes is not known."
        }
    };
    section(
        "What each layer lost",
        text,
        &bars("Error of each layer", &rows),
    )
}

/// Bytes of each format, where a budget chose.
fn allocation(report: &Quantized) -> String {
    let Some(allocation) = &report.allocation else {
        return String::new();
    };
    let row = |(format, (n, n_bytes)): (PackedFormat, (usize, u64))| Bar {
        label: format!("{format}, {n} weights"),
        value: n_bytes as f64,
        text: bytes(n_bytes),
    };
    let rows: Vec<Bar> = allocation.by_format().into_iter().map(row).collect();
    let text = format!(
        "Each weight alone was rounded to see how far predictions change; the budget was spent where that \
         helps most. Rounded to the nearest, all together should cost {:.4} nats a token.",
        allocation.predicted_kl
    );
    section(
        "Which formats were chosen",
        &text,
        &bars("Bytes of each format", &rows),
    )
}

fn layer_of(name: &str) -> Option<usize> {
    let rest = name.strip_prefix("model.layers.")?;
    rest.split('.').next()?.parse().ok()
}

fn worst(report: &Quantized) -> String {
    let mut tensors: Vec<&TensorReport> = report.quantized.tensors.iter().collect();
    tensors.sort_by(|a, b| b.lost().total_cmp(&a.lost()));
    let mut table =
        "<table class=\"figures\">\n<tr><th>weight</th><th>format</th><th>bytes</th><th>lost</th></tr>\n".to_owned();
    for tensor in tensors.into_iter().take(WORST) {
        let _ = writeln!(
            table,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{:.2} %</td></tr>",
            escape(&tensor.name),
            tensor.format,
            bytes(tensor.packed_bytes),
            100.0 * tensor.lost()
        );
    }
    table.push_str("</table>\n");
    let text = "Give those at the top more bits with `--tensor NAME=FORMAT`.";
    section("What suffers most", text, &table)
}

#[cfg(test)]
mod tests {
    use firebox_eval::DivergenceReport;
    use firebox_quant::{AllocatedTensor, Allocation, QuantReport};

    use super::*;

    fn report() -> Quantized {
        let tensor = |layer: usize, error: f64| TensorReport {
            name: format!("model.layers.{layer}.mlp.up_proj.weight"),
            format: PackedFormat::Q4_0,
            shape: [64, 32],
            packed_bytes: 1152,
            relative_error: 0.5,
            output_error: Some(error),
        };
        Quantized {
            name: "a <model>".to_owned(),
            method: "gptq",
            scaling: None,
            allocation: Some(Allocation {
                bytes: 2000,
                predicted_kl: 0.0625,
                tensors: vec![AllocatedTensor {
                    name: "lm_head.weight".to_owned(),
                    format: PackedFormat::Q8_0,
                    bytes: 1088,
                    sensitivity: 2.0,
                    predicted_kl: 0.0625,
                }],
            }),
            quantized: QuantReport {
                format: PackedFormat::Q4_0,
                bytes_before: 10_000,
                bytes_after: 3_000,
                tensors: vec![tensor(0, 0.01), tensor(1, 0.25)],
            },
            seconds: 12.0,
            peak_rss_bytes: 1 << 20,
            divergence: Some(DivergenceReport {
                reference_nll: 3.0,
                nll: 3.1,
                kl: 0.125,
                top1_agreement: 0.9,
                tokens: 77,
            }),
            decode_tokens_per_s: Some([10.0, 25.0]),
        }
    }

    #[test]
    fn the_page_is_well_formed_and_says_what_was_found() {
        let page = render(&report());
        let mut reader = quick_xml::Reader::from_str(&page);
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
        for text in [
            "a &lt;model&gt;",
            "4.500 bits",
            "0.1250 nats",
            "90.0 %",
            "25 tokens/s",
            "layer 1",
            "25.00 %",
            "q8_0, 1 weights",
            "0.0625 nats",
        ] {
            assert!(page.contains(text), "{text}");
        }
        let (first, second) = (
            page.find("layers.1.mlp").unwrap(),
            page.find("layers.0.mlp").unwrap(),
        );
        assert!(first < second, "the worst first");
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let page = render(&Quantized {
            divergence: None,
            decode_tokens_per_s: None,
            allocation: None,
            ..report()
        });
        assert!(page.contains("--evaluate TEXTS") && !page.contains("tokens/s"));
        assert!(!page.contains("formats were chosen"));
    }
}
