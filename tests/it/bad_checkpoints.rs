//! Checkpoints that are not what they say: each a clear error, never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
use firebox_model::{Llama, LlamaConfig, NamedWeight};
use firebox_tensor::burn::tensor::Device;
use serde_json::{Value, json};
use tempfile::TempDir;

fn tiny() -> LlamaConfig {
    LlamaConfig {
        n_kv_heads: 2,
        max_seq_len: 32,
        eos_ids: vec![0],
        ..LlamaConfig::new(300, 16, 24, 1, 4)
    }
}

/// A whole small model on disk; `skip` leaves a tensor out.
fn write(dir: &Path, skip: &str) -> PathBuf {
    let path = dir.join("model");
    let model = tiny().init(1, &Device::flex());
    let mut writer = HfWriter::create(&path).unwrap();
    writer.set_config(model.config().to_hf());
    let mut weights = model.named_weights();
    weights.retain(|weight| weight.name != skip);
    NamedWeight::write_all(&weights, writer, Dtype::F32).unwrap();
    path
}

fn load(path: &Path) -> Result<Llama, String> {
    let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
    Llama::load(&checkpoint, &Device::flex()).map_err(|error| error.to_string())
}

/// The error after `spoil` has been at the model's folder.
#[track_caller]
fn error(spoil: impl FnOnce(&Path)) -> String {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), "");
    load(&path).expect("sound before it is spoiled");
    spoil(&path);
    load(&path).expect_err("an error")
}

#[track_caller]
fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "expected `{part}` in: {error}");
    }
}

fn edit_config(path: &Path, edit: impl FnOnce(&mut Value)) {
    let file = path.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    edit(&mut config);
    fs::write(file, config.to_string()).unwrap();
}

/// Changes the header of `model.safetensors` and keeps its data.
fn edit_header(path: &Path, edit: impl FnOnce(&mut Value)) {
    let file = path.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    edit(&mut header);
    let header = header.to_string();
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend_from_slice(header.as_bytes());
    changed.extend_from_slice(&bytes[8 + len..]);
    fs::write(file, changed).unwrap();
}

#[test]
fn a_truncated_file_is_named() {
    let text = error(|path| {
        let file = path.join("model.safetensors");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    });
    assert_says(&text, &["model.safetensors", "byte"]);
}

#[test]
fn a_header_longer_than_the_file_is_named() {
    let text = error(|path| {
        let file = path.join("model.safetensors");
        let mut bytes = fs::read(&file).unwrap();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        fs::write(&file, bytes).unwrap();
    });
    assert_says(&text, &["model.safetensors", "header"]);
}

#[test]
fn overlapping_tensors_are_named() {
    let text = error(|path| {
        edit_header(path, |header| {
            let other = header["model.layers.0.mlp.up_proj.weight"]["data_offsets"].clone();
            header["model.layers.0.mlp.gate_proj.weight"]["data_offsets"] = other;
        });
    });
    assert_says(&text, &["model.safetensors", "_proj.weight"]);
}

#[test]
fn a_wrong_dtype_is_named() {
    let unknown =
        error(|path| edit_header(path, |h| h["model.norm.weight"]["dtype"] = json!("F7")));
    assert_says(&unknown, &["model.norm.weight", "F7"]);
    let integers =
        error(|path| edit_header(path, |h| h["model.norm.weight"]["dtype"] = json!("I32")));
    assert_says(&integers, &["model.norm.weight", "I32"]);
}

#[test]
fn a_missing_tensor_is_named_with_similar_ones() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), "model.layers.0.mlp.up_proj.weight");
    let text = load(&path).err().unwrap();
    assert_says(&text, &["`model.layers.0.mlp.up_proj.weight`", "gate_proj"]);
}

#[test]
fn kv_heads_that_do_not_divide_are_named() {
    let text = error(|path| edit_config(path, |config| config["num_key_value_heads"] = json!(3)));
    assert_says(
        &text,
        &[
            "num_key_value_heads",
            "divisor of num_attention_heads = 4",
            "`3`",
        ],
    );
}

#[test]
fn layers_that_the_config_does_not_know_are_an_error() {
    let text = error(|path| {
        edit_header(path, |header| {
            let norm = header["model.norm.weight"].take();
            header["model.layers.1.input_layernorm.weight"] = norm.clone();
            header.as_object_mut().unwrap().remove("model.norm.weight");
        });
    });
    assert_says(
        &text,
        &["num_hidden_layers", "the 2 layers of the checkpoint", "`1`"],
    );
}

#[test]
fn a_config_of_other_sizes_names_the_tensor_and_the_field() {
    let text = error(|path| edit_config(path, |config| config["num_key_value_heads"] = json!(4)));
    assert_says(
        &text,
        &[
            "k_proj.weight",
            "[16, 16]",
            "[8, 16]",
            "num_key_value_heads",
        ],
    );
    let text = error(|path| edit_config(path, |config| config["vocab_size"] = json!(301)));
    assert_says(
        &text,
        &[
            "model.embed_tokens.weight",
            "[301, 16]",
            "[300, 16]",
            "vocab_size",
        ],
    );
}

#[test]
fn a_gguf_with_a_forged_count_is_an_error_without_an_allocation() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.gguf");
    let mut bytes = b"GGUF".to_vec();
    bytes.extend_from_slice(&3_u32.to_le_bytes());
    bytes.extend_from_slice(&u64::MAX.to_le_bytes()); // tensors
    bytes.extend_from_slice(&(u64::MAX / 2).to_le_bytes()); // metadata pairs
    fs::write(&path, bytes).unwrap();
    let text = load(&path).err().unwrap();
    assert_says(&text, &["model.gguf", &u64::MAX.to_string()]);
}
