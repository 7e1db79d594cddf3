use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/embedding")
}

fn tiny() -> TextEmbedder {
    TextEmbedder::load(golden_dir().join("tiny")).unwrap()
}

struct Golden {
    texts: Vec<String>,
    token_ids: Vec<Vec<u32>>,
    embeddings: Vec<Vec<f32>>,
}

fn golden() -> Golden {
    let bytes = fs::read(golden_dir().join("golden.json")).unwrap();
    let golden: Value = serde_json::from_slice(&bytes).unwrap();
    let part = |name: &str| golden[name].clone();
    Golden {
        texts: serde_json::from_value(part("texts")).unwrap(),
        token_ids: serde_json::from_value(part("token_ids")).unwrap(),
        embeddings: serde_json::from_value(part("embeddings")).unwrap(),
    }
}

fn worst(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The tiny model's folder with some of its files changed; `null` takes one away.
fn changed(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tiny = golden_dir().join("tiny");
    fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    for name in [
        "config.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
    ] {
        fs::copy(tiny.join(name), dir.path().join(name)).unwrap();
    }
    for (name, value) in files {
        match value {
            Value::Null => fs::remove_file(dir.path().join(name)).unwrap(),
            value => fs::write(dir.path().join(name), value.to_string()).unwrap(),
        }
    }
    dir
}

fn modules(kinds: &[&str]) -> Value {
    let module = |kind: &&str| {
        let path = if *kind == "Pooling" { "1_Pooling" } else { "" };
        json!({"path": path, "type": format!("sentence_transformers.models.{kind}")})
    };
    kinds.iter().map(module).collect()
}

#[test]
fn it_computes_the_embeddings_of_sentence_transformers() {
    let (model, golden) = (tiny(), golden());
    assert_eq!((model.dim(), model.max_tokens()), (20, 24));
    assert_eq!(model.encode(&golden.texts).unwrap(), golden.token_ids);
    let found = model.embed(&golden.texts).unwrap();
    // Numbers of f32 below 1, over two layers.
    let worst = worst(&found, &golden.embeddings);
    assert!(worst < 5e-6, "{worst}");
}

#[test]
fn a_text_has_the_same_bits_alone_and_among_many() {
    let (model, golden) = (tiny(), golden());
    // Several passes.
    let many: Vec<&String> = golden.texts.iter().cycle().take(200).collect();
    let found = model.embed(&many).unwrap();
    for (text, found) in many.iter().zip(&found).take(5) {
        assert_eq!(&model.embed(&[text]).unwrap()[0], found);
    }
    assert_eq!(found[..5], found[195..]);
    let no_texts: [&str; 0] = [];
    assert!(model.embed(&no_texts).unwrap().is_empty());
}

#[test]
fn texts_are_cut_before_their_last_token() {
    let model = tiny();
    let cut = |ids: &[u32], n| {
        let mut ids = ids.to_vec();
        model.truncate(&mut ids, n);
        ids
    };
    assert_eq!(cut(&[1, 7, 8, 9, 2], 4), [1, 7, 8, 2]);
    assert_eq!(cut(&[1, 7, 8, 9, 2], 5), [1, 7, 8, 9, 2]);
    // Without the usual end.
    assert_eq!(cut(&[1, 7, 8, 9], 2), [1, 7]);
    let error = model.embed_ids(&[vec![1], vec![1; 25]], || true);
    assert!(matches!(
        error,
        Err(EmbedError::TooLong {
            index: 1,
            n_tokens: 25,
            max_tokens: 24
        })
    ));
}

#[test]
fn it_stops_when_told() {
    let model = tiny();
    let asked = std::cell::Cell::new(0);
    let texts = vec![vec![1; 20]; 100];
    let goes_on = || {
        asked.set(asked.get() + 1);
        asked.get() < 3
    };
    assert!(model.embed_ids(&texts, goes_on).unwrap().is_none());
    assert_eq!(asked.get(), 3);
}

#[test]
fn the_folder_says_what_comes_after_the_encoder() {
    let golden = golden();
    let load = |files: &[(&str, Value)]| TextEmbedder::load(changed(files).path()).unwrap();
    let length = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let bare = load(&[("modules.json", modules(&["Transformer", "Pooling"]))]);
    let mut vectors = bare.embed(&golden.texts).unwrap();
    assert!((length(&vectors[0]) - 1.0).abs() > 0.1);
    vectors.iter_mut().for_each(|vector| normalize(vector));
    assert!(worst(&vectors, &golden.embeddings) < 5e-6);
    // Without the folder's own files: mean, length 1, all positions.
    let plain = load(&[
        ("modules.json", Value::Null),
        ("1_Pooling/config.json", Value::Null),
        ("sentence_bert_config.json", Value::Null),
    ]);
    assert_eq!(plain.max_tokens(), 96);
    let vectors = plain.embed(&golden.texts[..2]).unwrap();
    assert!(worst(&vectors, &golden.embeddings[..2]) < 5e-6);
    let cls = load(&[("1_Pooling/config.json", json!({"pooling_mode": "cls"}))]);
    let mut buffers = EncoderBuffers::default();
    let ids: &[u32] = &golden.token_ids[0];
    let mut first = cls.model.forward(&[ids], &mut buffers).unwrap()[..20].to_vec();
    normalize(&mut first);
    assert_eq!(cls.embed(&golden.texts[..1]).unwrap()[0], first);
}

#[test]
fn other_folders_are_refused() {
    let pooling = "1_Pooling/config.json";
    let refused: [(&str, Value, &str); 7] = [
        (
            pooling,
            json!({"pooling_mode_max_tokens": true}),
            "expected pooling by `mean` or `cls`, found [\"max\"]",
        ),
        (
            pooling,
            json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}),
            "found [\"mean\", \"cls\"]",
        ),
        (
            "modules.json",
            modules(&["Transformer", "Pooling", "Dense"]),
            "found [\"Transformer\", \"Pooling\", \"Dense\"]",
        ),
        (
            "config_sentence_transformers.json",
            json!({"default_prompt_name": "query"}),
            "found \"query\"",
        ),
        (
            "sentence_bert_config.json",
            json!({"max_seq_length": 2}),
            "expected room for a text, found 2 tokens",
        ),
        (
            "tokenizer.json",
            Value::Null,
            "expected a tokenizer beside the weights",
        ),
        (
            "config.json",
            json!({"model_type": "llama"}),
            "field `model_type`: expected `\"bert\"`",
        ),
    ];
    for (file, value, expected) in refused {
        let dir = changed(&[(file, value)]);
        let error = TextEmbedder::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
