use std::{collections::BTreeSet, fs};

use serde_json::json;

use super::*;
use crate::{Dtype, GgmlType, HfWriter, SafetensorsHeader, gguf::test_file::tiny_llama};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// A small Hugging Face directory.
fn write_model(dir: &Path) {
    let mut writer = HfWriter::create(dir).unwrap();
    writer.set_config(json!({"model_type": "llama"}));
    writer
        .declare("model.embed_tokens.weight", Dtype::F32, &[3, 2])
        .unwrap();
    writer
        .declare("model.norm.weight", Dtype::BF16, &[2])
        .unwrap();
    writer
        .write_tensor("model.embed_tokens.weight", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
        .unwrap();
    writer
        .write_tensor("model.norm.weight", &[1.0, 0.5])
        .unwrap();
    writer.finish().unwrap();
}

/// The error of opening a path, without the path of the temporary directory.
#[track_caller]
fn open_error(dir: &Path, path: &str) -> String {
    let error = Checkpoint::open(&dir.join(path)).unwrap_err().to_string();
    error.replace(&*dir.to_string_lossy(), "DIR")
}

#[track_caller]
fn check_golden(gguf: &str, expected: &str) {
    let checkpoint = Checkpoint::open(&golden(gguf)).unwrap();
    let expected = Checkpoint::open(&golden(expected)).unwrap();
    assert_eq!(checkpoint.names(), expected.names());
    for name in checkpoint.names() {
        let (found, expected) = (
            checkpoint.tensor(&name).unwrap(),
            expected.tensor(&name).unwrap(),
        );
        assert_eq!(found.shape, expected.shape, "{name}");
        let differs = |(found, expected): (&f32, &f32)| found.to_bits() != expected.to_bits();
        let worst = found.data.iter().zip(&expected.data).position(differs);
        assert_eq!(worst, None, "{name}: first difference");
    }
}

#[test]
fn gguf_llama_has_the_weights_of_hugging_face() {
    check_golden("tiny_llama.gguf", "tiny_llama.safetensors");
}

#[test]
fn gguf_qwen2_has_the_weights_of_hugging_face() {
    check_golden("tiny_qwen2.gguf", "tiny_qwen2.safetensors");
}

#[test]
fn gguf_llama_has_the_config_and_tokenizer_of_hugging_face() {
    let checkpoint = Checkpoint::open(&golden("tiny_llama.gguf")).unwrap();
    let expected: Value =
        serde_json::from_slice(&fs::read(golden("tiny_llama.json")).unwrap()).unwrap();
    assert_eq!(checkpoint.config(), &expected["config"]);
    assert_eq!(
        checkpoint.generation_config(),
        Some(&expected["generation_config"])
    );
    assert_eq!(
        checkpoint.tokenizer_config(),
        Some(&expected["tokenizer_config"])
    );
    let tokenizer = checkpoint.tokenizer_json().unwrap().unwrap();
    let tokenizer: Value = serde_json::from_slice(&tokenizer).unwrap();
    assert_eq!(tokenizer, expected["tokenizer"]);
    let template = expected["tokenizer_config"]["chat_template"]
        .as_str()
        .unwrap();
    assert_eq!(checkpoint.chat_template().as_deref(), Some(template));
    let sides = checkpoint.side_files().unwrap();
    let (_, special) = sides
        .iter()
        .find(|(name, _)| name == "special_tokens_map.json")
        .unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(special).unwrap(),
        expected["special_tokens_map"]
    );
}

#[test]
fn gguf_qwen2_config_keeps_its_own_class() {
    let checkpoint = Checkpoint::open(&golden("tiny_qwen2.gguf")).unwrap();
    let config = checkpoint.config();
    assert_eq!(config["architectures"], json!(["Qwen2ForCausalLM"]));
    assert_eq!(config["tie_word_embeddings"], json!(false));
    assert_eq!(
        config["vocab_size"],
        json!(checkpoint.shape("lm_head.weight").unwrap()[0])
    );
    let tokenizer = checkpoint.tokenizer_json().unwrap().unwrap();
    let tokenizer: Value = serde_json::from_slice(&tokenizer).unwrap();
    assert_eq!(tokenizer["normalizer"], json!({"type": "NFC"}));
    assert_eq!(
        tokenizer["pre_tokenizer"]["pretokenizers"][0]["type"],
        json!("Split")
    );
}

#[test]
fn storage_tells_quantized_tensors_from_plain_ones() {
    let checkpoint = Checkpoint::open(&golden("tiny_llama.gguf")).unwrap();
    assert_eq!(checkpoint.dtype("model.norm.weight"), Some(Dtype::F32));
    assert_eq!(checkpoint.dtype("model.embed_tokens.weight"), None);
    let storage = checkpoint.storage("model.embed_tokens.weight").unwrap();
    assert_eq!(
        (storage, &*storage.to_string()),
        (Storage::Gguf(GgmlType::Q8_0), "Q8_0")
    );
    let kinds: BTreeSet<String> = checkpoint
        .names()
        .iter()
        .map(|name| checkpoint.storage(name).unwrap().to_string())
        .collect();
    assert_eq!(kinds.len(), 8, "{kinds:?}");
}

#[test]
fn directory_file_and_bytes_give_the_same_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    write_model(&model);
    let file = model.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let opened = [
        Checkpoint::open(&model).unwrap(),
        Checkpoint::open(&file).unwrap(),
        Checkpoint::from_bytes(Path::new("model.safetensors"), bytes).unwrap(),
    ];
    for checkpoint in &opened {
        assert_eq!(
            checkpoint.names(),
            ["model.embed_tokens.weight", "model.norm.weight"]
        );
        assert_eq!(
            checkpoint.tensor("model.norm.weight").unwrap().data,
            [1.0, 0.5]
        );
        assert_eq!(checkpoint.size_bytes(), opened[0].size_bytes());
    }
    assert_eq!(opened[1].config()["model_type"], "llama");
    assert!(opened[2].config().is_null());
}

#[test]
fn directory_with_one_gguf_is_that_gguf() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.gguf"), tiny_llama().bytes()).unwrap();
    assert_eq!(Checkpoint::open(dir.path()).unwrap().names().len(), 12);
    fs::write(dir.path().join("other.gguf"), tiny_llama().bytes()).unwrap();
    assert!(open_error(dir.path(), "").contains("give the path of one"));
}

/// Writes each tensor to a shard of its own, and an index.
fn write_sharded(dir: &Path) {
    let mut map = serde_json::Map::new();
    for (at, name) in ["a", "b"].iter().enumerate() {
        let shard = format!("model-0000{at}-of-00002.safetensors");
        let part = dir.join(name);
        let mut writer = HfWriter::create(&part).unwrap();
        writer.set_config(json!({}));
        writer.declare(name, Dtype::F32, &[1]).unwrap();
        writer.write_tensor(name, &[at as f32]).unwrap();
        writer.finish().unwrap();
        fs::rename(part.join("model.safetensors"), dir.join(&shard)).unwrap();
        fs::remove_dir_all(part).unwrap();
        map.insert((*name).to_owned(), json!(shard));
    }
    fs::write(dir.join("config.json"), "{}").unwrap();
    write_index(dir, &json!(map));
}

fn write_index(dir: &Path, map: &Value) {
    let index = json!({"metadata": {"total_size": 8}, "weight_map": map}).to_string();
    fs::write(dir.join("model.safetensors.index.json"), index).unwrap();
}

#[test]
fn shards_read_as_one_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    write_sharded(dir.path());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.names(), ["a", "b"]);
    assert_eq!(checkpoint.tensor("b").unwrap().data, [1.0]);
}

#[test]
fn index_that_lies_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write_sharded(dir.path());
    let shard = "model-00000-of-00002.safetensors";
    let maps = [
        json!({"a": "../../etc/passwd.safetensors"}),
        json!({"a": "/etc/x.safetensors"}),
        json!({"a": "missing.safetensors"}),
        json!({"a": "config.json"}),
        json!({"b": shard}),
        json!({"a": 1}),
        json!([]),
    ];
    let texts: Vec<String> = maps
        .iter()
        .map(|map| {
            write_index(dir.path(), map);
            open_error(dir.path(), "")
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn what_is_no_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in ["empty", "no-config", "pickled", "adapter"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    write_model(&root.join("model"));
    fs::copy(
        root.join("model/model.safetensors"),
        root.join("no-config/model.safetensors"),
    )
    .unwrap();
    fs::write(root.join("pickled/pytorch_model.bin"), b"PK\x03\x04").unwrap();
    fs::write(root.join("adapter/adapter_config.json"), "{}").unwrap();
    fs::write(root.join("weights.pth"), b"PK\x03\x04").unwrap();
    fs::write(root.join("renamed.model"), b"PK\x03\x04 and more").unwrap();
    fs::write(root.join("legacy.model"), b"\x80\x02}q\x00").unwrap();
    fs::write(root.join("notes.txt"), "hello there").unwrap();
    let paths = [
        "empty",
        "no-config",
        "pickled",
        "adapter",
        "weights.pth",
        "renamed.model",
        "legacy.model",
        "notes.txt",
        "nowhere",
    ];
    let texts: Vec<String> = paths.iter().map(|path| open_error(root, path)).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn missing_tensor_lists_names_like_it() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    write_model(&model);
    let checkpoint = Checkpoint::open(&model).unwrap();
    let error = checkpoint
        .tensor("model.norm.wait")
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(error.replace(&*dir.path().to_string_lossy(), "DIR"));
    assert_eq!(checkpoint.shape("model.norm.wait"), None);
    assert!(checkpoint.packed("model.norm.weight").unwrap().is_none());
}

#[test]
fn wrong_shape_and_small_vocabulary_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    write_model(&model);
    let checkpoint = Checkpoint::open(&model).unwrap();
    assert!(
        checkpoint
            .tensor_of_shape("model.norm.weight", &[2])
            .is_ok()
    );
    let shape = checkpoint
        .tensor_of_shape("model.norm.weight", &[2, 2])
        .unwrap_err()
        .to_string();
    assert!(
        shape.contains("expected shape [2, 2], found [2]"),
        "{shape}"
    );
    assert!(checkpoint.check_vocabulary(3).is_ok());
    let tokens = checkpoint.check_vocabulary(4).unwrap_err().to_string();
    assert!(tokens.contains("4 tokens, found 3 rows"), "{tokens}");
}

#[test]
fn tensor_of_integers_is_no_weight() {
    let header = r#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#;
    let bytes = [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &[0; 4],
    ]
    .concat();
    assert!(SafetensorsHeader::parse(&bytes).is_ok());
    let checkpoint = Checkpoint::from_bytes(Path::new("a.safetensors"), bytes).unwrap();
    let error = checkpoint.tensor("a").unwrap_err().to_string();
    assert!(error.contains("found I32"), "{error}");
}

#[test]
fn file_that_changed_since_it_was_opened_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    write_model(&model);
    let checkpoint = Checkpoint::open(&model).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(model.join("model.safetensors"))
        .unwrap();
    file.set_len(10).unwrap();
    let error = checkpoint.tensor("model.norm.weight").unwrap_err();
    assert!(matches!(error, CheckpointError::Changed { .. }), "{error}");
}

#[test]
fn template_file_wins_over_the_tokenizer_config() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    write_model(&model);
    assert_eq!(Checkpoint::open(&model).unwrap().chat_template(), None);
    let named = json!({"chat_template": [
        {"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"},
    ]});
    fs::write(model.join("tokenizer_config.json"), named.to_string()).unwrap();
    assert_eq!(
        Checkpoint::open(&model).unwrap().chat_template().unwrap(),
        "D"
    );
    fs::write(model.join("chat_template.jinja"), "J").unwrap();
    assert_eq!(
        Checkpoint::open(&model).unwrap().chat_template().unwrap(),
        "J"
    );
}
