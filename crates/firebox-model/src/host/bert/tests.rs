use std::fs;
use std::path::{Path, PathBuf};

use firebox_checkpoint::Checkpoint;
use serde_json::{Value, json};

use super::*;
use crate::HostWeights;

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/embedding")
}

fn golden() -> Value {
    serde_json::from_slice(&fs::read(golden_dir().join("golden.json")).unwrap()).unwrap()
}

fn tiny(weights: HostWeights) -> HostBert {
    let checkpoint = Checkpoint::open(&golden_dir().join("tiny")).unwrap();
    HostBert::load(&checkpoint, weights).unwrap()
}

fn hidden(model: &HostBert, texts: &[&[u32]]) -> Vec<f32> {
    let mut buffers = EncoderBuffers::default();
    model.forward(texts, &mut buffers).unwrap().to_vec()
}

fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// What loading says of the tiny model with fields of its config changed.
fn refusal(changes: Value) -> String {
    let dir = tempfile::tempdir().unwrap();
    let tiny = golden_dir().join("tiny");
    let mut config: Value =
        serde_json::from_slice(&fs::read(tiny.join("config.json")).unwrap()).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    fs::copy(
        tiny.join("model.safetensors"),
        dir.path().join("model.safetensors"),
    )
    .unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    HostBert::load(&checkpoint, HostWeights::Stored)
        .unwrap_err()
        .to_string()
}

#[test]
fn it_computes_the_hidden_states_of_transformers() {
    let golden = golden();
    let (ids, expected) = (ids(&golden["long_ids"]), floats(&golden["long_hidden"]));
    let model = tiny(HostWeights::Stored);
    let worst_of = |model: &HostBert| worst(&hidden(model, &[&ids]), &expected);
    // Sums in another order, over two layers, of states up to 3.
    assert!(worst_of(&model) < 2e-5, "{}", worst_of(&model));
    // A weight in 16 bits is off by 2^-9, or by 2^-11; one in 8 bits by 2^-8 of its row's largest.
    for (weights, most) in [
        (HostWeights::Bf16, 0.2),
        (HostWeights::Bf16Dot, 0.3),
        (HostWeights::F16, 0.03),
        (HostWeights::Int8Dot, 0.3),
    ] {
        let worst = worst_of(&tiny(weights));
        assert!(worst > 0.0 && worst < most, "{weights}: {worst}");
    }
}

#[test]
fn a_text_has_the_same_bits_in_any_batch_and_on_any_threads() {
    let model = tiny(HostWeights::Stored);
    let all: Vec<u32> = (0..96).map(|i| 5 + 7 * i % 60).collect();
    let texts: Vec<&[u32]> = [1, 96, 17, 48, 33].map(|n| &all[..n]).to_vec();
    let together = hidden(&model, &texts);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let alone = texts
        .iter()
        .flat_map(|text| pool.install(|| hidden(&model, &[*text])));
    assert_eq!(alone.collect::<Vec<f32>>(), together);
}

#[test]
fn other_models_are_refused() {
    for (changes, expected) in [
        (
            json!({"model_type": "roberta"}),
            "field `model_type`: expected `\"bert\"`, found `\"roberta\"`",
        ),
        (json!({"hidden_act": "relu"}), "field `hidden_act`"),
        (
            json!({"position_embedding_type": "relative_key"}),
            "field `position_embedding_type`",
        ),
        (
            json!({"num_attention_heads": 3}),
            "a divisor of hidden_size = 20, found `3`",
        ),
        (json!({"layer_norm_eps": 0.0}), "field `layer_norm_eps`"),
        (
            json!({"vocab_size": null}),
            "a whole number from 1 to 268435456, found nothing",
        ),
        (
            json!({"num_hidden_layers": 1}),
            "the 2 layers of the checkpoint",
        ),
        (json!({"num_hidden_layers": 3}), "encoder.layer.2."),
        (
            json!({"intermediate_size": 40}),
            "expected shape [40, 20], found [36, 20] (hint: does `intermediate_size`",
        ),
        (
            json!({"max_position_embeddings": 95}),
            "`max_position_embeddings`",
        ),
        (json!({"vocab_size": 100}), "`vocab_size`"),
    ] {
        let found = refusal(changes);
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn texts_that_do_not_fit_are_refused() {
    let model = tiny(HostWeights::Stored);
    let vocab_size = model.config().vocab_size as u32;
    let refused = |text: &[u32]| {
        let mut buffers = EncoderBuffers::default();
        model.forward(&[&[1], text], &mut buffers).unwrap_err()
    };
    assert!(matches!(refused(&[]), ModelError::Empty { .. }));
    assert!(matches!(
        refused(&[1; 97]),
        ModelError::PromptTooLong {
            prompt_tokens: 97,
            max_seq_len: 96
        }
    ));
    assert!(matches!(
        refused(&[1, vocab_size]),
        ModelError::TokenOutOfRange { .. }
    ));
}
