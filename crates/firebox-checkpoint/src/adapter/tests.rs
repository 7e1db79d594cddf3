use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{HfWriter, SafetensorsHeader};

/// What PEFT 0.21.2 wrote for rank 8 on `q_proj` and `v_proj`.
fn golden_config() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/peft_adapter_config.json");
    fs::read(path).unwrap()
}

const A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

fn adapter() -> Adapter {
    let tensor = |shape: [usize; 2]| HostTensor {
        shape: shape.to_vec(),
        data: (0..shape[0] * shape[1]).map(|i| i as f32 / 3.0).collect(),
    };
    Adapter {
        config: AdapterConfig::new(8, 16.0, ["q_proj", "v_proj"], "models/smollm2-bf16"),
        tensors: BTreeMap::from([
            (A.to_owned(), tensor([8, 4])),
            (B.to_owned(), tensor([6, 8])),
        ]),
    }
}

fn written(adapter: &Adapter) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter");
    write_adapter(&path, adapter).unwrap();
    (dir, path)
}

#[test]
fn new_config_is_byte_for_byte_what_peft_writes() {
    let (_dir, path) = written(&adapter());
    let found = fs::read_to_string(path.join(CONFIG_FILE)).unwrap();
    assert_eq!(found, String::from_utf8(golden_config()).unwrap());
}

#[test]
fn weights_have_pefts_names_and_shapes_in_f32() {
    let (_dir, path) = written(&adapter());
    let file = fs::read(path.join(WEIGHTS_FILE)).unwrap();
    let header = SafetensorsHeader::parse(&file).unwrap();
    assert_eq!(header.metadata["format"], "pt");
    assert_eq!(
        (header.tensors[A].dtype, &*header.tensors[A].shape),
        (Dtype::F32, &[8, 4][..])
    );
    assert_eq!(header.tensors[B].shape, [6, 8]);
}

#[test]
fn adapter_reads_back_as_it_was_written() {
    let mut adapter = adapter();
    adapter.config.lora_alpha = 1.5;
    adapter.config.use_rslora = true;
    adapter
        .config
        .alpha_pattern
        .insert("layers.0".to_owned(), 4.0);
    adapter
        .config
        .others
        .insert("of_a_later_peft".to_owned(), json!({"kept": [1, 2.5]}));
    let (_dir, path) = written(&adapter);
    assert_eq!(read_adapter(&path).unwrap(), adapter);
    write_adapter(&path, &adapter).unwrap();
    assert_eq!(read_adapter(&path).unwrap(), adapter);
}

#[test]
fn scaling_is_alpha_over_rank_or_over_its_root() {
    let mut config = AdapterConfig::new(16, 32.0, ["q_proj"], "base");
    assert_eq!(config.scaling(), 2.0);
    config.use_rslora = true;
    assert_eq!(config.scaling(), 8.0);
}

#[test]
fn config_of_an_older_peft_is_read() {
    let old = json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear",
        "base_model_name_or_path": null, "task_type": null, "bias": "none",
    });
    let config: AdapterConfig = serde_json::from_value(old).unwrap();
    assert_eq!(
        config.target_modules,
        Some(TargetModules::Pattern("all-linear".to_owned()))
    );
    assert_eq!(config.scaling(), 2.0);
}

#[test]
fn half_precision_adapter_is_read() {
    for dtype in [Dtype::F16, Dtype::BF16] {
        let (_dir, path) = written(&adapter());
        let model = path.with_extension("model");
        let mut writer = HfWriter::create(&model).unwrap();
        writer.set_config(json!({}));
        writer.declare(A, dtype, &[1, 2]).unwrap();
        writer.write_tensor(A, &[0.5, -2.0]).unwrap();
        writer.finish().unwrap();
        fs::rename(model.join("model.safetensors"), path.join(WEIGHTS_FILE)).unwrap();
        assert_eq!(read_adapter(&path).unwrap().tensors[A].data, [0.5, -2.0]);
    }
}

#[test]
fn what_is_no_adapter_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = |files: &[(&str, &[u8])]| {
        let path = dir.path().join("adapter");
        fs::create_dir(&path).unwrap();
        for (name, bytes) in files {
            fs::write(path.join(name), bytes).unwrap();
        }
        let error = read_adapter(&path).unwrap_err().to_string();
        fs::remove_dir_all(&path).unwrap();
        error.replace(&*dir.path().to_string_lossy(), "DIR")
    };
    let config = golden_config();
    let texts = [
        error(&[]),
        error(&[(CONFIG_FILE, &config)]),
        error(&[(CONFIG_FILE, &config), ("adapter_model.bin", b"PK")]),
        error(&[(CONFIG_FILE, b"{"), (WEIGHTS_FILE, b"")]),
        error(&[
            (CONFIG_FILE, br#"{"peft_type": "IA3"}"#),
            (WEIGHTS_FILE, b""),
        ]),
        error(&[
            (CONFIG_FILE, br#"{"peft_type": "LORA", "r": -1}"#),
            (WEIGHTS_FILE, b""),
        ]),
        error(&[(CONFIG_FILE, &config), (WEIGHTS_FILE, b"short")]),
    ];
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn adapter_that_is_not_finite_or_of_another_size_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter");
    let mut diverged = adapter();
    diverged
        .tensors
        .entry(A.to_owned())
        .and_modify(|tensor| tensor.data[3] = f32::NAN);
    let error = write_adapter(&path, &diverged).unwrap_err().to_string();
    assert!(error.contains(A) && error.contains("index 3"), "{error}");
    let mut short = adapter();
    short
        .tensors
        .entry(B.to_owned())
        .and_modify(|tensor| tensor.data.truncate(5));
    let error = write_adapter(&path, &short).unwrap_err().to_string();
    assert!(error.contains("expected 48 values, found 5"), "{error}");
    assert!(!path.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))] // Each forces files to the disk.

    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (_dir, path) = written(&adapter());
        for name in [CONFIG_FILE, WEIGHTS_FILE] {
            let mut bytes = fs::read(path.join(name)).unwrap();
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            fs::write(path.join(name), bytes).unwrap();
        }
        let _ = read_adapter(&path);
    }
}
