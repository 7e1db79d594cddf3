use firebox_tensor::packed::PackedFormat;
use serde_json::json;

use super::*;

/// A directory with one projection, one norm and one embedding.
fn model(dir: &Path, values: impl Fn(usize) -> f32) -> Checkpoint {
    let shapes: [(&str, Dtype, &[usize]); 3] = [
        ("model.embed_tokens.weight", Dtype::BF16, &[8, 64]),
        (
            "model.layers.0.mlp.down_proj.weight",
            Dtype::BF16,
            &[64, 256],
        ),
        ("model.norm.weight", Dtype::F32, &[64]),
    ];
    let mut writer = HfWriter::create(dir).unwrap();
    writer.set_config(json!({"model_type": "llama"}));
    for (name, dtype, shape) in shapes {
        writer.declare(name, dtype, shape).unwrap();
    }
    for (name, _, shape) in shapes {
        let n: usize = shape.iter().product();
        writer
            .write_tensor(name, &(0..n).map(&values).collect::<Vec<_>>())
            .unwrap();
    }
    writer.finish().unwrap();
    Checkpoint::open(dir).unwrap()
}

fn wave(i: usize) -> f32 {
    half_precision((i as f32 * 0.37).sin())
}

/// A value that bf16 holds exactly.
fn half_precision(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0xFFFF_0000)
}

#[test]
fn a_quantized_model_loads_again_at_its_packed_size() {
    for format in PackedFormat::ALL {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = model(&dir.path().join("a"), wave);
        let out = dir.path().join("b");
        let mut calls = 0;
        let config = QuantConfig::projections(format);
        let report = quantize_checkpoint(&checkpoint, &config, &out, |_, _| calls += 1).unwrap();
        let packed = Checkpoint::open(&out).unwrap();

        let name = "model.layers.0.mlp.down_proj.weight";
        let matrix = packed.packed(name).unwrap().expect("packed");
        let original = checkpoint.tensor(name).unwrap().data;
        let expected = PackedMatrix::pack(format, &original, 64, 256).unwrap();
        assert_eq!(matrix.unpack(), expected.unpack(), "{format}");
        assert_eq!(calls, 3);
        assert_eq!(report.tensors.len(), 1);
        assert_eq!(report.tensors[0].packed_bytes, matrix.n_bytes() as u64);
        assert!(report.worst().unwrap().relative_error < 0.12, "{format}");
        // What is not packed keeps its type and its values.
        for name in ["model.embed_tokens.weight", "model.norm.weight"] {
            assert_eq!(packed.dtype(name), checkpoint.dtype(name));
            assert_eq!(
                packed.tensor(name).unwrap().data,
                checkpoint.tensor(name).unwrap().data
            );
        }
        assert!(report.bytes_after < report.bytes_before, "{format}");
    }
}

#[test]
fn a_packed_model_is_not_packed_again() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = model(&dir.path().join("a"), wave);
    let (out, again) = (dir.path().join("b"), dir.path().join("c"));
    let config = QuantConfig::projections(PackedFormat::Nf4);
    quantize_checkpoint(&checkpoint, &config, &out, |_, _| ()).unwrap();
    let packed = Checkpoint::open(&out).unwrap();
    let error = quantize_checkpoint(&packed, &config, &again, |_, _| ()).unwrap_err();
    assert!(
        error.to_string().contains("found a tensor packed as nf4"),
        "{error}"
    );
    assert!(!again.exists());
}

/// The writer refuses such a weight, so the file is made by hand.
#[test]
fn weights_that_are_not_finite_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let tensor = json!({"dtype": "F32", "shape": [1, 64], "data_offsets": [0, 256]});
    let header = json!({ "model.layers.0.mlp.down_proj.weight": tensor }).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend((0..64).flat_map(|i| if i == 9 { f32::NAN } else { 1.0 }.to_le_bytes()));
    std::fs::write(dir.path().join("model.safetensors"), file).unwrap();
    std::fs::write(dir.path().join("config.json"), r#"{"model_type":"llama"}"#).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let config = QuantConfig::projections(PackedFormat::Int8Rowwise);
    let error =
        quantize_checkpoint(&checkpoint, &config, &dir.path().join("b"), |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("down_proj"), "{error}");
}

#[test]
fn a_model_without_projections_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = model(&dir.path().join("a"), wave);
    let keep = "*_proj.weight=keep".parse().unwrap();
    let config = QuantConfig::projections(PackedFormat::Nf4).with_rules(vec![keep]);
    let error =
        quantize_checkpoint(&checkpoint, &config, &dir.path().join("b"), |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("`*_proj.weight`"), "{error}");
}

#[test]
fn rules_choose_formats_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = model(&dir.path().join("a"), wave);
    let out = dir.path().join("b");
    let rules = |texts: &[&str]| {
        let rules = texts.iter().map(|text| text.parse().unwrap()).collect();
        QuantConfig::projections(PackedFormat::Nf4).with_rules(rules)
    };
    let config = rules(&["model.embed*=q8_0", "*=int8"]);
    let report = quantize_checkpoint(&checkpoint, &config, &out, |_, _| ()).unwrap();
    let formats: Vec<PackedFormat> = report.tensors.iter().map(|tensor| tensor.format).collect();
    assert_eq!(formats, [PackedFormat::Q8_0, PackedFormat::Int8Rowwise]);
    let packed = Checkpoint::open(&out).unwrap();
    assert!(
        packed
            .packed("model.embed_tokens.weight")
            .unwrap()
            .is_some()
    );
    assert!(packed.packed("model.norm.weight").unwrap().is_none());
    let config = rules(&["model.norm.*=q8_0"]);
    let error =
        quantize_checkpoint(&checkpoint, &config, &dir.path().join("c"), |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("`model.norm.*=q8_0`"), "{error}");
}
