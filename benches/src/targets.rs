//! Who is to be beaten by how much, in the form that a user would choose there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::contender::Metric;
use crate::summary::Summary;

/// Metric, our contender, the peer, and the ratio that is aimed at.
const TARGETS: [(Metric, &str, &str, f64); 11] = [
    (Metric::Prefill, "firebox f32", "torch fp32", 1.1),
    (Metric::Prefill, "firebox q8_0", "llama.cpp Q8_0", 1.7),
    (Metric::Prefill, "firebox q8_0", "torch bf16", 1.0),
    (Metric::Prefill, "firebox bf16", "torch bf16", 1.0),
    (Metric::Decode, "firebox q8_0", "llama.cpp Q8_0", 1.3),
    (Metric::Decode, "firebox q4_1", "llama.cpp Q4_1", 1.5),
    (Metric::Decode, "firebox f16", "llama.cpp F16", 1.15),
    (Metric::Decode, "firebox bf16", "llama.cpp F16", 1.15),
    (Metric::Decode, "firebox f32", "llama.cpp F32", 1.05),
    (Metric::TrainFull, "firebox f32", "torch fp32", 1.1),
    (Metric::TrainLora, "firebox f32", "torch fp32", 1.15),
];

/// One row for each pair that ran; nothing when none did.
pub(crate) fn table(results: &BTreeMap<Metric, Vec<Summary>>) -> String {
    let mut rows = String::new();
    for (metric, ours, peer, target) in TARGETS {
        let median = |name: &str| {
            let of_metric = results.get(&metric)?;
            let row = of_metric.iter().find(|row| row.contender == name)?;
            Some(row.median)
        };
        let (Some(found), Some(theirs)) = (median(ours), median(peer)) else {
            continue;
        };
        let ratio = found / theirs;
        let met = if ratio >= target { "yes" } else { "no" };
        // Writing to a string can't fail.
        let _ = writeln!(
            rows,
            "| {metric} | {ours} | {found:.1} | {peer} | {theirs:.1} | {ratio:.2} | {target:.2} | {met} |"
        );
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n## Against the peers\n\n\
         | work | ours | tok/s | peer | tok/s | ratio | target | met |\n\
         |---|---|--:|---|--:|--:|--:|---|\n{rows}"
    )
}
