//! Quantized models: quality against the reference, size on disk and in memory.

use std::path::Path;

use firebox_checkpoint::Checkpoint;
use firebox_model::{HostLlama, HostWeights, Llama, Weight};
use firebox_quant::{QuantConfig, quantize_checkpoint};
use firebox_tensor::burn::tensor::Device;
use firebox_tensor::packed::PackedFormat;

use crate::fixtures::{assert_close, golden, ids, smollm2};

/// Bytes of all packed projections in memory.
fn packed_bytes(model: &Llama) -> u64 {
    let weights = model
        .linears()
        .into_iter()
        .map(|(_, linear)| &linear.weight);
    weights
        .filter(|w| matches!(w, Weight::Packed(_)))
        .map(|w| w.n_bytes() as u64)
        .sum()
}

#[track_caller]
fn check(format: PackedFormat, reference: &str, bits: f64, dir: &Path) {
    let checkpoint = Checkpoint::open(smollm2()).unwrap();
    let out = dir.join(format.name());
    let report = quantize_checkpoint(
        &checkpoint,
        &QuantConfig::projections(format),
        &out,
        |_, _| (),
    )
    .unwrap();
    let model = Llama::load(&Checkpoint::open(&out).unwrap(), &Device::flex()).unwrap();

    let expected = golden("quantized_nll.json")["results"][reference]["fixed_text_nll"]
        .as_f64()
        .unwrap();
    let text = [ids(&golden("fixed_text_nll.json")["token_ids"])];
    let host = HostLlama::load(&Checkpoint::open(&out).unwrap(), HostWeights::Stored).unwrap();
    for nll in [
        firebox_eval::nll(&model, &text, |_| ()),
        firebox_eval::nll(&host, &text, |_| ()),
    ] {
        let what = format!("{format}: fixed-text NLL");
        assert_close(&what, &[nll.unwrap().nll], &[expected], 0.002);
    }

    let weights: usize = report.tensors.iter().map(|t| t.shape[0] * t.shape[1]).sum();
    let (in_memory, on_disk) = (
        packed_bytes(&model),
        report.tensors.iter().map(|t| t.packed_bytes).sum::<u64>(),
    );
    assert_eq!(in_memory, on_disk);
    let found = in_memory as f64 * 8.0 / weights as f64;
    assert!(
        (found - bits).abs() < 0.02,
        "{format}: expected {bits} bits a weight, found {found}"
    );
    // The rest is the embedding in bf16, the norms, the tokenizer.
    assert!(
        report.bytes_after < report.bytes_before - (weights as f64 * (15.9 - bits) / 8.0) as u64
    );
}

#[test]
fn quantized_models_keep_the_reference_quality_at_their_packed_size() {
    let dir = tempfile::tempdir().unwrap();
    // Bits a weight: the code, and its share of f32 scales (one a block of 64, or one a row).
    check(PackedFormat::Nf4, "nf4", 4.5, dir.path());
    check(
        PackedFormat::Nf4DoubleQuant,
        "nf4_double_quant",
        4.127,
        dir.path(),
    );
    check(PackedFormat::Int8Rowwise, "int8_rowwise", 8.04, dir.path());
}
