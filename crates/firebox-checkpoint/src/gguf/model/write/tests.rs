use firebox_tensor::packed::{PackedFormat, PackedMatrix};
use serde_json::{Value, json};

use super::*;
use crate::{HfWriter, gguf::test_file::tiny_llama};

/// The same model as a directory, and what its GGUF file was.
fn directory(dir: &Path) -> (Checkpoint, Checkpoint) {
    let file = dir.join("tiny.gguf");
    std::fs::write(&file, tiny_llama().bytes()).unwrap();
    let out = dir.join("hf");
    crate::convert(&file, &out, Dtype::F32).unwrap();
    (
        Checkpoint::open(&file).unwrap(),
        Checkpoint::open(&out).unwrap(),
    )
}

#[test]
fn a_model_comes_back_from_the_file_that_it_was_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let (original, converted) = directory(dir.path());
    let file = dir.path().join("again.gguf");
    write_gguf(&converted, &file, Dtype::F32).unwrap();
    let again = Checkpoint::open(&file).unwrap();
    assert_eq!(again.names(), original.names());
    for name in original.names() {
        assert_eq!(
            again.tensor(&name).unwrap(),
            original.tensor(&name).unwrap(),
            "{name}"
        );
    }
    assert_eq!(again.config(), original.config());
    assert_eq!(again.generation_config(), original.generation_config());
    assert_eq!(again.tokenizer_config(), original.tokenizer_config());
    assert_eq!(again.side_files().unwrap(), original.side_files().unwrap());
}

#[test]
fn packed_weights_keep_their_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 32, "vocab_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": 16,
    });
    let values: Vec<f32> = (0..64 * 64).map(|i| (i as f32).sin()).collect();
    let name = "model.layers.0.self_attn.q_proj.weight";
    let write = |path: &Path, format: PackedFormat| {
        let packed = PackedMatrix::pack(format, &values, 64, 64).unwrap();
        let mut writer = HfWriter::create(path).unwrap();
        writer.set_config(config.clone());
        writer.declare_packed(name, format, [64, 64]).unwrap();
        writer
            .declare("model.norm.weight", Dtype::BF16, &[64])
            .unwrap();
        writer.write_packed(name, &packed).unwrap();
        writer
            .write_tensor(
                "model.norm.weight",
                &values[..64].iter().map(|x| x.round()).collect::<Vec<_>>(),
            )
            .unwrap();
        writer.finish().unwrap();
        packed
    };
    let (hf, file) = (dir.path().join("hf"), dir.path().join("x.gguf"));
    let packed = write(&hf, PackedFormat::Q4_1);
    write_gguf(&Checkpoint::open(&hf).unwrap(), &file, Dtype::F16).unwrap();
    let read = Checkpoint::open(&file).unwrap();
    assert_eq!(read.storage(name), Some(Storage::Gguf(GgmlType::Q4_1)));
    assert_eq!(read.blocks(name).unwrap(), Some(packed));
    assert_eq!(read.dtype("model.norm.weight"), Some(Dtype::F32));
    // Its blocks go from file to file.
    let again = dir.path().join("again.gguf");
    write_gguf(&read, &again, Dtype::F16).unwrap();
    assert_eq!(
        std::fs::read(&again).unwrap(),
        std::fs::read(&file).unwrap()
    );

    let nf4 = dir.path().join("nf4");
    write(&nf4, PackedFormat::Nf4);
    let error = write_gguf(
        &Checkpoint::open(&nf4).unwrap(),
        &dir.path().join("no.gguf"),
        Dtype::F16,
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("q_proj.weight`: expected floats, or weights packed in a format of ggml's"),
        "{error}"
    );
    assert!(!dir.path().join("no.gguf").exists());
}

#[test]
fn what_llama_cpp_does_not_know_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_, converted) = directory(dir.path());
    let hf = converted.path().to_owned();
    let file = dir.path().join("no.gguf");
    let config = std::fs::read_to_string(hf.join("config.json")).unwrap();
    let tokenizer = std::fs::read_to_string(hf.join("tokenizer.json")).unwrap();
    let check = |config: &str, tokenizer: &str, expected: &str| {
        std::fs::write(hf.join("config.json"), config).unwrap();
        std::fs::write(hf.join("tokenizer.json"), tokenizer).unwrap();
        let error = write_gguf(&Checkpoint::open(&hf).unwrap(), &file, Dtype::F16).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!file.exists());
    };
    let other = |from: &str, to: &str| config.replace(from, to);
    check(
        &other("\"model_type\": \"llama\"", "\"model_type\": \"gemma\""),
        &tokenizer,
        "found gemma",
    );
    check(
        &other("\"hidden_size\": 4", "\"hidden_size\": -4"),
        &tokenizer,
        "`hidden_size` of the config",
    );
    check(
        &other(
            "\"rope_scaling\": null",
            "\"rope_scaling\": {\"rope_type\": \"longrope\"}",
        ),
        &tokenizer,
        "found longrope",
    );
    check(
        &config,
        &tokenizer.replace("\"BPE\"", "\"Unigram\""),
        "byte-level BPE, found Unigram",
    );
    check(
        &config,
        &tokenizer.replace("\"use_regex\": true", "\"use_regex\": false"),
        "`gpt-2`",
    );
    check(
        &config,
        &tokenizer.replace("\"<x>\": 5", "\"<x>\": 6"),
        "token `<x>`",
    );
}

/// A directory with these settings beside the usual ones, and little else.
fn rotary_model(path: &Path, settings: &Value) -> Checkpoint {
    let mut config = json!({
        "model_type": "llama", "hidden_size": 128, "intermediate_size": 32, "vocab_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
    });
    let settings = settings.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(settings);
    let (name, width) = ("model.norm.weight", 128);
    let mut writer = HfWriter::create(path).unwrap();
    writer.set_config(config);
    writer.declare(name, Dtype::F32, &[width]).unwrap();
    writer.write_tensor(name, &vec![1.0; width]).unwrap();
    writer.finish().unwrap();
    Checkpoint::open(path).unwrap()
}

#[test]
fn rotary_settings_come_back_from_either_place_of_the_config() {
    let dir = tempfile::tempdir().unwrap();
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let older = json!({"rope_theta": 500_000.0, "rope_scaling": scaling});
    let mut parameters = scaling.clone();
    parameters["rope_theta"] = json!(500_000.0);
    let newer = json!({"rope_parameters": parameters});
    for (name, rope) in [("older", older), ("newer", newer)] {
        let (hf, file) = (
            dir.path().join(name),
            dir.path().join(format!("{name}.gguf")),
        );
        write_gguf(&rotary_model(&hf, &rope), &file, Dtype::F16).unwrap();
        let read = Checkpoint::open(&file).unwrap();
        assert_eq!(read.config()["rope_theta"], json!(500_000.0), "{name}");
        assert_eq!(read.config()["rope_scaling"], scaling, "{name}");
        assert_eq!(read.names(), ["model.norm.weight"]);
    }
}

#[test]
fn scaling_that_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (low, high, named)) in [(4.0, 4.0, "low_freq"), (1.0, -1.0, "high_freq")]
        .iter()
        .enumerate()
    {
        let hf = dir.path().join(i.to_string());
        let rope = json!({"rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": 8192,
        }});
        let out = dir.path().join("x.gguf");
        let error = write_gguf(&rotary_model(&hf, &rope), &out, Dtype::F16).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn factors_that_nobody_could_read_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (model_type, head_dim, factor, is_written)) in [
        ("llama", 64, 8.0, true),
        ("llama", 64, 8.005, true),
        ("llama", 64, 1.0, true),  // No scaling.
        ("llama", 16, 8.0, false), // One wave between the bounds tells no line.
        ("llama", 64, 0.5, false),
        ("llama", 1 << 20, 8.0, false),
        ("qwen2", 64, 8.0, false),
    ]
    .into_iter()
    .enumerate()
    {
        let (hf, file) = (
            dir.path().join(i.to_string()),
            dir.path().join(format!("{i}.gguf")),
        );
        let rope = json!({
            "model_type": model_type, "head_dim": head_dim, "rope_theta": 500_000.0,
            "rope_scaling": {
                "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
            },
        });
        let written = write_gguf(&rotary_model(&hf, &rope), &file, Dtype::F16);
        assert_eq!(
            written.is_ok(),
            is_written,
            "{model_type} {head_dim} {factor}"
        );
        if is_written {
            Checkpoint::open(&file).unwrap();
        }
    }
}
