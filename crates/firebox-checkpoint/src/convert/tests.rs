use std::{fs, path::PathBuf};

use firebox_tensor::packed::{PackedFormat, PackedMatrix};
use serde_json::{Value, json};

use super::*;
use crate::gguf::test_file::tiny_llama;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn gguf_becomes_a_directory_with_the_files_of_the_python_exporter() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("hf");
    convert(&golden("tiny_llama.gguf"), &out, Dtype::F32).unwrap();
    let expected = json_file(&golden("tiny_llama.json"));
    for name in [
        "config",
        "generation_config",
        "special_tokens_map",
        "tokenizer_config",
        "tokenizer",
    ] {
        assert_eq!(
            json_file(&out.join(format!("{name}.json"))),
            expected[name],
            "{name}"
        );
    }
    let (written, expected) = (
        Checkpoint::open(&out).unwrap(),
        Checkpoint::open(&golden("tiny_llama.safetensors")).unwrap(),
    );
    for name in expected.names() {
        assert_eq!(
            written.tensor(&name).unwrap(),
            expected.tensor(&name).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn tokenizer_file_is_laid_out_as_python_lays_it_out() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("hf");
    convert(&golden("tiny_llama.gguf"), &out, Dtype::BF16).unwrap();
    let text = fs::read_to_string(out.join("tokenizer.json")).unwrap();
    assert!(text.starts_with("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n"));
    assert!(text.contains("\"Ġworld\": "), "not escaped");
    assert!(text.ends_with("]\n  }\n}\n"));
}

#[test]
fn bf16_to_f32_and_back_keeps_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
    convert(&golden("tiny_qwen2.gguf"), &a, Dtype::BF16).unwrap();
    convert(&a, &b, Dtype::F32).unwrap();
    convert(&b, &c, Dtype::BF16).unwrap();
    for entry in fs::read_dir(&a).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            fs::read(a.join(&name)).unwrap() == fs::read(c.join(&name)).unwrap(),
            "{name:?}"
        );
    }
    assert_eq!(json_file(&b.join("config.json"))["torch_dtype"], "float32");
    assert_eq!(json_file(&c.join("config.json"))["torch_dtype"], "bfloat16");
}

#[test]
fn weight_too_large_for_f16_is_named_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let gguf = dir.path().join("m.gguf");
    let builder = tiny_llama().tensor("blk.1.attn_norm.weight", &[4], &[0.0, 1.0, 1e6, 0.0]);
    fs::write(&gguf, builder.bytes()).unwrap();
    let out = dir.path().join("hf");
    let error = convert(&gguf, &out, Dtype::F16).unwrap_err().to_string();
    insta::assert_snapshot!(error);
    assert!(!out.exists());
    assert!(convert(&gguf, &out, Dtype::BF16).is_ok());
}

#[test]
fn weight_that_is_not_a_number_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let gguf = dir.path().join("m.gguf");
    let builder = tiny_llama().tensor("blk.1.attn_norm.weight", &[4], &[0.0, f32::NAN, 1.0, 0.0]);
    fs::write(&gguf, builder.bytes()).unwrap();
    let error = convert(&gguf, &dir.path().join("hf"), Dtype::F32)
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(error);
}

#[test]
fn packed_model_converts_to_a_dense_one() {
    let dir = tempfile::tempdir().unwrap();
    let [packed, dense] = ["packed", "dense"].map(|name| dir.path().join(name));
    let weight: Vec<f32> = (0..128).map(|i| i as f32 / 64.0 - 1.0).collect();
    let matrix = PackedMatrix::pack(PackedFormat::Nf4DoubleQuant, &weight, 2, 64).unwrap();
    let mut writer = HfWriter::create(&packed).unwrap();
    writer.set_config(json!({"dtype": "bfloat16"}));
    writer
        .declare_packed("w", PackedFormat::Nf4DoubleQuant, [2, 64])
        .unwrap();
    writer.write_packed("w", &matrix).unwrap();
    writer.finish().unwrap();
    convert(&packed, &dense, Dtype::F32).unwrap();
    let checkpoint = Checkpoint::open(&dense).unwrap();
    assert_eq!(checkpoint.config(), &json!({"dtype": "float32"}));
    assert_eq!(checkpoint.storage("w"), Some(Storage::Plain(Dtype::F32)));
    assert_eq!(checkpoint.tensor("w").unwrap().data, matrix.unpack());
}

#[test]
fn table_of_integers_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let [source, out] = ["source", "out"].map(|name| dir.path().join(name));
    fs::create_dir(&source).unwrap();
    let header = r#"{"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
    let data = [7i64.to_le_bytes().to_vec(), 0.5f32.to_le_bytes().to_vec()].concat();
    let file = [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &data,
    ]
    .concat();
    fs::write(source.join("model.safetensors"), file).unwrap();
    fs::write(source.join("config.json"), "{}").unwrap();
    convert(&source, &out, Dtype::BF16).unwrap();
    let checkpoint = Checkpoint::open(&out).unwrap();
    let (bytes, entry) = checkpoint.plain_bytes("ids").unwrap().unwrap();
    assert_eq!((bytes, entry.dtype), (&7i64.to_le_bytes()[..], Dtype::I64));
    assert_eq!(checkpoint.dtype("w"), Some(Dtype::BF16));
}

#[test]
fn dtype_without_weights_and_file_without_config_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let error = convert(&golden("tiny_llama.gguf"), &out, Dtype::I8)
        .unwrap_err()
        .to_string();
    assert!(error.contains("found I8"), "{error}");
    let error = convert(&golden("tiny_llama.safetensors"), &out, Dtype::F32)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`config.json`"), "{error}");
}
