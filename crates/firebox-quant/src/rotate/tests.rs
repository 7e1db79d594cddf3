use super::*;
use crate::testing::{decoder, saved, text};
use burn::tensor::Device;
use firebox_model::Llama;

#[test]
fn a_rotation_keeps_lengths_and_follows_its_seed() {
    let q = rotation(48, 3);
    let identity = product(q.transpose(), q.as_ref());
    for i in 0..48 {
        for j in 0..48 {
            let expected = if i == j { 1.0 } else { 0.0 };
            assert!((identity[(i, j)] - expected).abs() < 1e-12);
        }
    }
    assert_eq!(rotation(48, 3), q);
    assert_ne!(rotation(48, 4), q);
}

#[test]
fn the_rotated_model_computes_the_same() {
    for tied in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let model = decoder(tied);
        let checkpoint = saved(&model, &dir.path().join("a"));
        let out = dir.path().join("b");
        let mut calls = 0;
        rotate_checkpoint(&checkpoint, 11, &out, |_, _| calls += 1).unwrap();
        let rotated = Checkpoint::open(&out).unwrap();
        assert_eq!(calls, rotated.names().len());
        let gains = rotated
            .tensor("model.layers.1.input_layernorm.weight")
            .unwrap();
        assert_eq!(gains.data, [1.0; 64]);
        let name = "model.layers.0.mlp.up_proj.weight";
        assert_ne!(
            rotated.tensor(name).unwrap(),
            checkpoint.tensor(name).unwrap()
        );
        let loaded = Llama::load(&rotated, &Device::flex()).unwrap();
        assert!(loaded.lm_head.is_some());
        let text = text(1, 50);
        let (before, after) = (
            model.token_nll(&text).unwrap(),
            loaded.token_nll(&text).unwrap(),
        );
        for (before, after) in before.iter().zip(after) {
            assert!((before - after).abs() < 1e-4, "{before} and {after}");
        }
    }
}

#[test]
fn what_is_no_decoder_is_an_error_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = HfWriter::create(&dir.path().join("a")).unwrap();
    writer.set_config(json!({"model_type": "bert"}));
    writer.declare("x", Dtype::F32, &[1]).unwrap();
    writer.write_tensor("x", &[1.0]).unwrap();
    writer.finish().unwrap();
    let checkpoint = Checkpoint::open(&dir.path().join("a")).unwrap();
    let out = dir.path().join("b");
    let error = rotate_checkpoint(&checkpoint, 1, &out, |_, _| ()).unwrap_err();
    assert!(matches!(error, QuantError::Model(_)), "{error}");
    assert!(!out.exists());
}
