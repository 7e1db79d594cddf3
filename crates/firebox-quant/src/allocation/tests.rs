use super::*;
use crate::quantize::quantize_checkpoint;
use crate::testing::{decoder, saved, text};
use firebox_checkpoint::Dtype;
use firebox_model::Llama;

const FORMATS: [PackedFormat; 3] = [PackedFormat::Q4_0, PackedFormat::Q5_0, PackedFormat::Q8_0];

fn budget(bytes: u64) -> Budget {
    Budget {
        bytes,
        formats: FORMATS.to_vec(),
        texts: (0..4).map(|seed| text(seed, 40)).collect(),
        device: Device::flex(),
    }
}

/// Bytes of the tensors of a model, all packed in one format but for what stays.
fn bytes_of(dir: &std::path::Path, checkpoint: &Checkpoint, format: PackedFormat) -> u64 {
    let rules = vec![
        TensorRule::exactly("model.embed_tokens.weight", format),
        TensorRule::exactly("lm_head.weight", format),
    ];
    let config = QuantConfig::projections(format).with_rules(rules);
    let out = dir.join(format.name());
    let report = quantize_checkpoint(checkpoint, &config, &out, |_, _| ()).unwrap();
    let packed: u64 = report
        .tensors
        .iter()
        .map(|tensor| tensor.packed_bytes)
        .sum();
    let norms = checkpoint
        .names()
        .into_iter()
        .filter(|name| name.contains("norm"));
    let norms = norms.map(|name| checkpoint.shape(&name).unwrap()[0] * Dtype::F32.n_bytes());
    packed + norms.sum::<usize>() as u64
}

#[test]
fn formats_within_the_budget_are_better_than_one_format() {
    let dir = tempfile::tempdir().unwrap();
    let model = decoder(false);
    let checkpoint = saved(&model, &dir.path().join("model"));
    let one = bytes_of(dir.path(), &checkpoint, PackedFormat::Q5_0);
    let config = QuantConfig::projections(PackedFormat::Q4_0);
    let mut layers = Vec::new();
    let on_layer = |done, all| layers.push((done, all));
    let allocation = allocate(&checkpoint, &config, &budget(one), on_layer).unwrap();
    assert_eq!(layers, [(1, 2), (2, 2)]);
    assert_eq!(allocation.tensors.len(), 16, "projections, embedding, head");
    assert!(allocation.bytes <= one && allocation.bytes > one * 9 / 10);
    let formats: std::collections::BTreeSet<PackedFormat> = allocation
        .tensors
        .iter()
        .map(|tensor| tensor.format)
        .collect();
    assert!(formats.len() > 1, "{formats:?}");

    let out = dir.path().join("mixed");
    let mixed = config.with_rules(allocation.rules());
    let report = quantize_checkpoint(&checkpoint, &mixed, &out, |_, _| ()).unwrap();
    let packed: u64 = report
        .tensors
        .iter()
        .map(|tensor| tensor.packed_bytes)
        .sum();
    let allocated: u64 = allocation.tensors.iter().map(|tensor| tensor.bytes).sum();
    assert_eq!(packed, allocated);
    let distance = |name: &str| {
        let packed = Checkpoint::open(&dir.path().join(name)).unwrap();
        let packed = Llama::load(&packed, &Device::flex()).unwrap();
        let texts: Vec<Vec<u32>> = (10..16).map(|seed| text(seed, 40)).collect();
        let ids = model.ids_tensor(&texts).unwrap();
        let difference = model.forward(ids.clone()) - packed.forward(ids);
        difference.powi_scalar(2).sum().into_scalar::<f32>()
    };
    let (mixed, one) = (distance("mixed"), distance("q5_0"));
    assert!(mixed < one, "{mixed} and {one}");
}

#[test]
fn all_there_is_room_for_is_taken_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(&decoder(true), &dir.path().join("model"));
    let rules: Vec<TensorRule> = vec![
        "*.o_proj.weight=keep".parse().unwrap(),
        "*.v_proj.weight=q8_0".parse().unwrap(),
    ];
    let config = QuantConfig::projections(PackedFormat::Q4_0).with_rules(rules);
    let all = allocate(&checkpoint, &config, &budget(u64::MAX), |_, _| ()).unwrap();
    assert_eq!(all.tensors.len(), 11, "what a rule names has no choice");
    assert!(
        all.tensors
            .iter()
            .all(|tensor| tensor.format == PackedFormat::Q8_0)
    );
    let exact = allocate(&checkpoint, &config, &budget(all.bytes), |_, _| ()).unwrap();
    assert_eq!(exact, all);
    let less = allocate(&checkpoint, &config, &budget(all.bytes - 1), |_, _| ()).unwrap();
    assert!(less.bytes < all.bytes && less.predicted_kl > all.predicted_kl);
    let error = allocate(&checkpoint, &config, &budget(1000), |_, _| ()).unwrap_err();
    let QuantError::Budget { bytes: 1000, least } = error else {
        panic!("{error}");
    };
    let least = allocate(&checkpoint, &config, &budget(least), |_, _| ()).unwrap();
    assert!(
        least
            .tensors
            .iter()
            .all(|tensor| tensor.format == PackedFormat::Q4_0)
    );
}

#[test]
fn formats_that_fit_no_row_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = saved(&decoder(true), &dir.path().join("model"));
    let config = QuantConfig::projections(PackedFormat::Q4K);
    let formats = vec![PackedFormat::Q4K];
    let budget = Budget {
        formats,
        ..budget(u64::MAX)
    };
    let error = allocate(&checkpoint, &config, &budget, |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("q4_k"), "{error}");
}
