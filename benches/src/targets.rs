//! Who is to be beaten by how much, in the form that a user would choose there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::contender::{BURN_LORA, Metric};
use crate::limits::{Cost, Limits};
use crate::summary::Summary;

/// From this share of the machine's limit on, a target is met whatever the peer does.
const ENOUGH: f64 = 0.85;

/// A pair, the ratio that is aimed at, and what a token costs us.
struct Target {
    metric: Metric,
    ours: &'static str,
    peer: &'static str,
    ratio: f64,
    cost: Cost,
}

/// Multiplications and additions of one token in SmolLM2-135M's layers: two for each of their 106.2
/// million weights, and the attention of a prompt of 512 tokens.
const LAYERS: f64 = 2.0 * 106.2e6 + 17.7e6;
/// The same of the head.
const HEAD: f64 = 2.0 * 28.3e6;
/// f16 keys and values of 576 tokens, the mean of a decode of 128 after 512.
const KV: f64 = 576.0 * 30.0 * 2.0 * 192.0 * 2.0;
/// What the last of its 640 tokens have beyond those of [`KV`].
const KV_AT_THE_END: f64 = 64.0 * 30.0 * 2.0 * 192.0 * 2.0;
/// Weights with the head, which is the embedding.
const WEIGHTS: f64 = 134.5e6;
/// Bytes of SmolLM2's Q4_1 file: its embedding is Q8_0.
const Q4_1_BYTES: f64 = 96.5e6;
/// NF4 weights of the linear layer with a scale for each 64.
const NF4_BYTES: f64 = 2048.0 * 8192.0 * (0.5 + 4.0 / 64.0);

const fn target(
    metric: Metric,
    ours: &'static str,
    peer: &'static str,
    ratio: f64,
    cost: Cost,
) -> Target {
    Target {
        metric,
        ours,
        peer,
        ratio,
        cost,
    }
}

/// A training step of an adapter is a forward pass and the gradient of what flows; of the whole model,
/// the weights' gradients as well.
const TARGETS: [Target; 18] = {
    use Cost::{Bf16, F32, Int8, Read};
    use Metric::{Decode, LinearCached, LinearMany, LinearStreamed, Prefill, TrainFull, TrainLora};
    [
        target(Prefill, "firebox f32", "torch fp32", 1.1, F32(LAYERS)),
        target(Prefill, "firebox q8_0", "llama.cpp Q8_0", 1.7, Int8(LAYERS)),
        target(Prefill, "firebox q8_0", "torch bf16", 1.0, Int8(LAYERS)),
        target(Prefill, "firebox bf16-dot", "torch bf16", 1.0, Bf16(LAYERS)),
        target(
            Decode,
            "firebox q8_0",
            "llama.cpp Q8_0",
            1.3,
            Read(WEIGHTS * 34.0 / 32.0 + KV),
        ),
        target(
            Decode,
            "firebox q4_1",
            "llama.cpp Q4_1",
            1.5,
            Read(Q4_1_BYTES + KV),
        ),
        target(
            Decode,
            "firebox f16",
            "llama.cpp F16",
            1.15,
            Read(WEIGHTS * 2.0 + KV),
        ),
        target(
            Decode,
            "firebox bf16",
            "llama.cpp F16",
            1.15,
            Read(WEIGHTS * 2.0 + KV),
        ),
        target(
            Decode,
            "firebox f32",
            "llama.cpp F32",
            1.05,
            Read(WEIGHTS * 4.0 + 2.0 * KV),
        ),
        target(
            TrainFull,
            "firebox f32",
            "torch fp32",
            1.1,
            F32(3.0 * (LAYERS + HEAD)),
        ),
        target(
            TrainFull,
            "firebox bf16-dot",
            "torch bf16",
            1.1,
            Bf16(3.0 * (LAYERS + HEAD)),
        ),
        target(
            TrainFull,
            "firebox f16",
            "torch fp16",
            1.1,
            F32(3.0 * (LAYERS + HEAD)),
        ),
        target(
            TrainLora,
            "firebox f32",
            "torch fp32",
            1.15,
            F32(2.0 * (LAYERS + HEAD)),
        ),
        target(
            TrainLora,
            "firebox bf16-dot",
            "torch bf16",
            1.1,
            Bf16(2.0 * (LAYERS + HEAD)),
        ),
        target(
            TrainLora,
            "firebox f16",
            "torch fp16",
            1.1,
            F32(2.0 * (LAYERS + HEAD)),
        ),
        target(
            LinearCached,
            "firebox nf4-dot",
            "bitsandbytes NF4",
            1.0,
            Bf16(2.0 * 2048.0 * 8192.0),
        ),
        target(
            LinearStreamed,
            "firebox nf4-dot",
            "bitsandbytes NF4",
            1.0,
            Read(NF4_BYTES),
        ),
        target(
            LinearMany,
            "firebox nf4-dot",
            "bitsandbytes NF4",
            1.0,
            Bf16(2.0 * 2048.0 * 8192.0),
        ),
    ]
};

/// The share of a peer's memory above its start that ours may take.
struct MemoryTarget {
    metric: Metric,
    ours: &'static str,
    peer: &'static str,
    ratio: f64,
}

const MEMORY_TARGETS: [MemoryTarget; 5] = {
    use Metric::{TrainFull, TrainLora};
    const fn target(
        metric: Metric,
        ours: &'static str,
        peer: &'static str,
        ratio: f64,
    ) -> MemoryTarget {
        MemoryTarget {
            metric,
            ours,
            peer,
            ratio,
        }
    }
    [
        target(TrainFull, "firebox f32", "torch fp32", 0.7),
        target(TrainFull, "firebox bf16-dot", "torch bf16", 0.7),
        target(TrainLora, "firebox f32", "torch fp32", 0.5),
        target(TrainLora, "firebox bf16-dot", "torch bf16", 0.5),
        target(TrainLora, "firebox f32", BURN_LORA, 0.5),
    ]
};

const MIB: f64 = 1024.0 * 1024.0;

/// What a decoder may take besides its weights, keys and values.
const DECODE_ROOM: f64 = 60e6;

/// The memory of training beside the peers', and of decoding beside what must be read for it; nothing
/// when neither ran.
pub(crate) fn memory_table(results: &BTreeMap<Metric, Vec<Summary>>) -> String {
    let mut rows = String::new();
    for MemoryTarget {
        metric,
        ours,
        peer,
        ratio,
    } in MEMORY_TARGETS
    {
        let bytes = |name| row(results, metric, name)?.above_start_bytes;
        let (Some(found), Some(theirs)) = (bytes(ours), bytes(peer)) else {
            continue;
        };
        let (found, theirs) = (found as f64 / MIB, theirs as f64 / MIB);
        let _ = writeln!(
            rows,
            "| {metric}, above the start | {ours} | {found:.0} | {peer} | {theirs:.0} | {:.2} | {ratio:.2} | {} |",
            found / theirs,
            yes_no(found <= ratio * theirs),
        );
    }
    for Target {
        metric, ours, cost, ..
    } in TARGETS
    {
        let (Metric::Decode, Cost::Read(needed)) = (metric, cost) else {
            continue;
        };
        let Some(found) = row(results, metric, ours) else {
            continue;
        };
        let found = found.peak_rss_bytes as f64 / MIB;
        let allowed = (needed + KV_AT_THE_END + DECODE_ROOM) / MIB;
        let _ = writeln!(
            rows,
            "| {metric} | {ours} | {found:.0} | weights, keys, values and 60 MB | {allowed:.0} | {:.2} | 1.00 | {} |",
            found / allowed,
            yes_no(found <= allowed),
        );
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n## Peak memory\n\n\
         | work | ours | MiB | beside | MiB | ratio | at most | met |\n\
         |---|---|--:|---|--:|--:|--:|---|\n{rows}"
    )
}

/// One row for each pair that ran; nothing when none did.
pub(crate) fn table(results: &BTreeMap<Metric, Vec<Summary>>, limits: &Limits) -> String {
    let mut rows = String::new();
    for Target {
        metric,
        ours,
        peer,
        ratio: aim,
        cost,
    } in TARGETS
    {
        let median = |name: &str| Some(row(results, metric, name)?.median);
        let (Some(found), Some(theirs)) = (median(ours), median(peer)) else {
            continue;
        };
        let (ratio, share) = (found / theirs, limits.share(cost, found));
        let met = yes_no(ratio >= aim || share >= ENOUGH);
        // Writing to a string can't fail.
        let _ = writeln!(
            rows,
            "| {metric} | {ours} | {found:.1} | {peer} | {theirs:.1} | {ratio:.2} | {aim:.2} | {share:.0} % | {met} |",
            share = share * 100.0,
        );
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n## Against the peers\n\n\
         Met: the ratio that is aimed at, or {enough:.0} % of the machine's limit.\n\n\
         | work | ours | tok/s | peer | tok/s | ratio | target | of the limit | met |\n\
         |---|---|--:|---|--:|--:|--:|--:|---|\n{rows}",
        enough = ENOUGH * 100.0,
    )
}

fn yes_no(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "no" }
}

fn row<'a>(
    results: &'a BTreeMap<Metric, Vec<Summary>>,
    metric: Metric,
    name: &str,
) -> Option<&'a Summary> {
    results
        .get(&metric)?
        .iter()
        .find(|row| row.contender == name)
}
