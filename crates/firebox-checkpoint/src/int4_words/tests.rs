use std::fs;

use firebox_tensor::packed::PackError;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Checkpoint, HfWriter, PackedLayout, Storage};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
const UP: &str = "model.layers.1.mlp.up_proj.weight";
const DOWN: &str = "model.layers.1.mlp.down_proj.weight";

/// What the config of each golden file says.
fn golden_config(file: &str) -> Value {
    match file {
        "awq" => json!({"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "version": "GEMM"}),
        "gptq" => json!({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": false}),
        _ => {
            json!({"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": file})
        }
    }
}

fn open_with(dir: &Path, config: &Value, weights: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let config = json!({"model_type": "llama", "quantization_config": config});
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("model.safetensors"), weights).unwrap();
    Checkpoint::open(dir)
}

fn golden(dir: &Path, file: &str) -> Checkpoint {
    let weights = fs::read(format!("{GOLDEN}/{file}.safetensors")).unwrap();
    open_with(dir, &golden_config(file), &weights).unwrap()
}

/// The modules of a golden file.
fn modules(checkpoint: &Checkpoint) -> Vec<String> {
    let names = checkpoint.names();
    let values = names.iter().filter_map(|name| name.strip_suffix(".values"));
    values.map(str::to_owned).collect()
}

fn format(module: &str) -> Option<PackedFormat> {
    let size: usize = module.get(1..)?.parse().ok()?;
    let groups = match module.starts_with('s') {
        true => Int4Groups::symmetric(size),
        false => Int4Groups::asymmetric(size),
    };
    groups.map(PackedFormat::Int4)
}

#[test]
fn words_are_read_as_they_are_defined() {
    let mut n_modules = 0;
    for file in ["gptq", "gptq_v2", "awq"] {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = golden(dir.path(), file);
        for module in modules(&checkpoint) {
            n_modules += 1;
            let name = format!("{module}.weight");
            let expected = checkpoint.tensor(&format!("{module}.values")).unwrap();
            let found = checkpoint.tensor(&name).unwrap();
            assert_eq!(found.shape, expected.shape, "{file} {module}");
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found.data), bits(&expected.data), "{file} {module}");
            assert_eq!(checkpoint.shape(&name), Some(expected.shape));
            let packed = checkpoint
                .packed(&name)
                .unwrap()
                .map(|matrix| matrix.format());
            assert_eq!(packed, format(&module), "{file} {module}");
            let storage = packed.map_or(Storage::Plain(Dtype::F32), Storage::Packed);
            assert_eq!(checkpoint.storage(&name), Some(storage), "{file} {module}");
        }
        let of_parts = |name: &String| !name.ends_with(".values") && !name.ends_with(".weight");
        assert_eq!(checkpoint.names().iter().find(|name| of_parts(name)), None);
    }
    assert_eq!(n_modules, 16);
}

/// Writes matrices of one format.
fn write(dir: &Path, layout: PackedLayout, matrices: &[(&str, PackedMatrix)]) {
    let mut writer = HfWriter::create(dir).unwrap();
    writer.set_config(json!({"model_type": "llama", "quantization_config": {"bits": 3}}));
    writer.set_packed_layout(layout);
    for (name, matrix) in matrices {
        let shape = [matrix.n_rows(), matrix.n_cols()];
        writer.declare_packed(name, matrix.format(), shape).unwrap();
    }
    writer.declare(DOWN, Dtype::BF16, &[2, 2]).unwrap();
    for (name, matrix) in matrices {
        writer.write_packed(name, matrix).unwrap();
    }
    writer.write_tensor(DOWN, &[1.0; 4]).unwrap();
    writer.finish().unwrap();
}

#[test]
fn written_bytes_are_those_of_the_golden_files() {
    // Of the first version symmetric weights only.
    for (file, kinds, layout) in [
        ("gptq", "s", PackedLayout::Gptq),
        ("gptq_v2", "g", PackedLayout::Gptq),
        ("awq", "gs", PackedLayout::Awq),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let theirs = golden(dir.path(), file);
        let written = modules(&theirs)
            .into_iter()
            .filter(|module| module.starts_with(|c| kinds.contains(c)) && module != "scattered");
        let written: Vec<String> = written.collect();
        assert_eq!(written.len(), 3 * kinds.len());
        for module in written {
            let name = format!("{module}.weight");
            let matrix = theirs.packed(&name).unwrap().unwrap();
            let path = dir.path().join(&module);
            write(&path, layout, &[(&name, matrix)]);
            let ours = Checkpoint::open(&path).unwrap();
            for part in ["qweight", "qzeros", "scales", "g_idx"] {
                let part = format!("{module}.{part}");
                let bytes = |checkpoint: &Checkpoint| {
                    let found = checkpoint.plain_bytes(&part).unwrap();
                    found.map(|(bytes, entry)| (bytes.to_vec(), entry.shape.clone(), entry.dtype))
                };
                assert_eq!(bytes(&ours), bytes(&theirs), "{file} {part}");
            }
        }
    }
}

#[test]
fn weights_come_back_with_what_loaders_want_to_know() {
    for layout in [PackedLayout::Gptq, PackedLayout::Awq] {
        for format in layout.formats() {
            let PackedFormat::Int4(groups) = format else {
                panic!("{layout} has {format}")
            };
            let n_cols = 3 * groups.size();
            let values: Vec<f32> = (0..24 * n_cols)
                .map(|i| (i as f32 * 0.37).sin() * (1.0 + (i / 64) as f32))
                .collect();
            let matrix = PackedMatrix::pack(format, &values, 24, n_cols).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("model");
            write(&path, layout, &[(UP, matrix.clone())]);
            let checkpoint = Checkpoint::open(&path).unwrap();
            assert_eq!(checkpoint.names(), [DOWN, UP]);
            assert_eq!(
                checkpoint.packed(UP).unwrap(),
                Some(matrix),
                "{layout} {format}"
            );
            let config = &checkpoint.config()["quantization_config"];
            assert_eq!(config["bits"], json!(4));
            assert_eq!(config["group_size"], json!(groups.size()));
            let kept = "model.layers.1.mlp.down_proj";
            if layout == PackedLayout::Awq {
                assert_eq!(config["version"], json!("gemm"));
                assert_eq!(config["zero_point"], json!(true));
                assert_eq!(config["modules_to_not_convert"], json!([kept, "lm_head"]));
                continue;
            }
            let version = if groups.is_symmetric() {
                "gptq"
            } else {
                "gptq_v2"
            };
            assert_eq!(config["checkpoint_format"], json!(version));
            assert_eq!(config["sym"], json!(groups.is_symmetric()));
            assert_eq!(config["desc_act"], json!(false));
            assert_eq!(config["lm_head"], json!(false));
            let kept = "-:^model\\.layers\\.1\\.mlp\\.down_proj$";
            assert_eq!(config["dynamic"], json!({kept: {}}));
        }
    }
}

#[test]
fn what_has_no_place_is_refused_when_it_is_declared() {
    let format = |name: &str| name.parse::<PackedFormat>().unwrap();
    for layout in [PackedLayout::Gptq, PackedLayout::Awq] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = HfWriter::create(&dir.path().join("model")).unwrap();
        writer.set_packed_layout(layout);
        let mut refused = |name: &str, of: &str, shape: [usize; 2], expected: &str| {
            let error = writer.declare_packed(name, format(of), shape).unwrap_err();
            assert!(error.to_string().contains(expected), "{layout}: {error}");
        };
        refused(
            UP,
            "q4_0",
            [8, 64],
            "int4-32, int4-64, int4-128, int4-32-sym",
        );
        refused(
            UP,
            "int4-64",
            [8, 96],
            "whole blocks of int4-64, 64 columns",
        );
        refused(UP, "int4-64", [12, 64], "a multiple of 8 rows");
        refused(
            "model.embed_tokens.weight",
            "int4-64",
            [8, 64],
            "of a projection",
        );
        if layout == PackedLayout::Awq {
            refused("lm_head.weight", "int4-64", [8, 64], "of a projection");
        }
        writer
            .declare_packed(DOWN, format("int4-64"), [8, 64])
            .unwrap();
        let error = writer
            .declare_packed(UP, format("int4-32"), [8, 64])
            .unwrap_err();
        assert!(error.to_string().contains("int4-64 as before"), "{error}");
    }
}

/// The parts of a GPTQ weight of 8 outputs and 64 inputs in two groups.
fn small() -> BTreeMap<&'static str, (Dtype, Vec<usize>, Vec<u8>)> {
    let groups = (0..64).flat_map(|i| (i / 32i32).to_le_bytes());
    BTreeMap::from([
        ("w.qweight", (Dtype::I32, vec![8, 8], vec![7; 256])),
        ("w.qzeros", (Dtype::I32, vec![2, 1], vec![3; 8])),
        ("w.scales", (Dtype::F16, vec![2, 8], vec![9; 32])),
        ("w.g_idx", (Dtype::I32, vec![64], groups.collect())),
    ])
}

fn open_parts(
    config: &Value,
    parts: &BTreeMap<&str, (Dtype, Vec<usize>, Vec<u8>)>,
) -> Result<Checkpoint, String> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (dtype, shape, bytes)) in parts {
        let ends = [data.len(), data.len() + bytes.len()];
        let entry = json!({"dtype": dtype.name(), "shape": shape, "data_offsets": ends});
        header.insert((*name).to_owned(), entry);
        data.extend(bytes);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let dir = tempfile::tempdir().unwrap();
    let weights = [&length[..], header.as_bytes(), &data].concat();
    open_with(dir.path(), config, &weights).map_err(|error| error.to_string())
}

#[test]
fn other_kinds_are_named() {
    let error = |config: Value| open_parts(&config, &small()).map(|_| ()).unwrap_err();
    for (key, value, found) in [
        ("bits", json!(8), "expected 4, found 8"),
        ("group_size", json!(-1), "expected 32, 64 or 128, found -1"),
        ("group_size", json!(256), "found 256"),
        ("group_size", Value::Null, "found null"),
        (
            "checkpoint_format",
            json!("marlin"),
            "`gptq` or `gptq_v2`, found marlin",
        ),
        ("is_marlin_format", json!(true), "found marlin"),
        ("pack_dtype", json!("int16"), "`int32`, found int16"),
    ] {
        let mut config = json!({"quant_method": "gptq", "bits": 4, "group_size": 32});
        config[key] = value;
        let text = error(config);
        assert!(
            text.contains(found) && text.contains("quantization_config"),
            "{text}"
        );
    }
    for version in ["gemv", "gemv_fast", "marlin", "exllama"] {
        let text =
            error(json!({"quant_method": "awq", "bits": 4, "group_size": 32, "version": version}));
        assert!(text.contains(&format!("`gemm`, found {version}")), "{text}");
    }
}

#[test]
fn damaged_parts_are_named() {
    let config = json!({"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": true});
    open_parts(&config, &small()).unwrap();
    let error = |name: &str, part: Option<(Dtype, Vec<usize>, Vec<u8>)>| {
        let mut parts = small();
        parts.remove(name);
        parts.extend(part.map(|part| {
            (
                small().keys().find(|key| **key == name).copied().unwrap(),
                part,
            )
        }));
        match open_parts(&config, &parts) {
            Ok(checkpoint) => checkpoint.tensor("w.weight").unwrap_err().to_string(),
            Err(error) => error,
        }
    };
    let i32s = |shape: &[usize]| {
        let n = shape.iter().product::<usize>();
        Some((Dtype::I32, shape.to_vec(), vec![0; 4 * n]))
    };
    for (found, expected) in [
        (
            error("w.qzeros", None),
            "`w.qzeros` of I32 [2, 1], found none",
        ),
        (error("w.scales", None), "a matrix `scales`"),
        (error("w.g_idx", None), "a `g_idx`, as `desc_act` says"),
        (error("w.qweight", i32s(&[8, 7])), "a multiple of 8"),
        (error("w.qweight", i32s(&[64])), "a matrix `qweight`"),
        (error("w.qweight", i32s(&[0, 8])), "a multiple of 8"),
        (
            error("w.qweight", i32s(&[8, 16])),
            "`w.scales` of F16 [2, 16]",
        ),
        (error("w.qweight", i32s(&[7, 8])), "56 inputs in 2 groups"),
        (
            error("w.qweight", Some((Dtype::F32, vec![8, 8], vec![0; 256]))),
            "I32 [8, 8], found F32",
        ),
        (
            error("w.scales", Some((Dtype::F64, vec![2, 8], vec![0; 128]))),
            "F16 [2, 8], found F64",
        ),
        (
            error("w.scales", Some((Dtype::F16, vec![0, 8], Vec::new()))),
            "64 inputs in 0 groups",
        ),
        (
            error("w.g_idx", i32s(&[63])),
            "`w.g_idx` of I32 [64], found I32 [63]",
        ),
        (
            error("w.g_idx", Some((Dtype::I32, vec![64], vec![255; 256]))),
            "groups below 2, found -1",
        ),
        (
            error("w.g_idx", Some((Dtype::I32, vec![64], vec![2; 256]))),
            "found 33686018",
        ),
    ] {
        assert!(found.contains(expected), "{found}\n{expected}");
    }
}

#[test]
fn scales_are_finite() {
    let config = json!({"quant_method": "gptq", "bits": 4, "group_size": 32});
    let mut parts = small();
    let infinite = f16::INFINITY.to_le_bytes();
    parts.get_mut("w.scales").unwrap().2[4..6].copy_from_slice(&infinite);
    let error = open_parts(&config, &parts)
        .unwrap()
        .tensor("w.weight")
        .unwrap_err();
    let CheckpointError::Model(ModelError::Packed { source, .. }) = error else {
        panic!("{error}")
    };
    assert!(
        matches!(source, PackError::NonFiniteScale { .. }),
        "{source}"
    );
    // The same where groups are scattered.
    parts.get_mut("w.g_idx").unwrap().2[0] = 1;
    let error = open_parts(&config, &parts)
        .unwrap()
        .tensor("w.weight")
        .unwrap_err();
    assert!(
        error.to_string().contains("finite scales, found inf"),
        "{error}"
    );
}

#[test]
fn scales_have_the_type_of_the_model() {
    let config = json!({"quant_method": "gptq", "bits": 4, "group_size": 32});
    let opened = |dtype: Dtype, values: &[f32]| {
        let bytes = encoding::encode(dtype, values).unwrap().unwrap();
        let mut parts = small();
        parts.insert("w.scales", (dtype, vec![2, 8], bytes));
        open_parts(&config, &parts).unwrap()
    };
    let mut scales: Vec<f32> = (0..16).map(|i| 0.5 - i as f32 / 16.0).collect();
    let expected = opened(Dtype::F16, &scales).packed("w.weight").unwrap();
    assert!(expected.is_some());
    for dtype in [Dtype::BF16, Dtype::F32] {
        let found = opened(dtype, &scales).packed("w.weight").unwrap();
        assert_eq!(found, expected, "{dtype}");
        // What f16 does not hold is decoded: codes of 7 and 0, and zero points of 4 and 1.
        scales[0] = 1e-30;
        let checkpoint = opened(dtype, &scales);
        scales[0] = 0.5;
        assert_eq!(checkpoint.packed("w.weight").unwrap(), None);
        assert_eq!(
            checkpoint.storage("w.weight"),
            Some(Storage::Plain(Dtype::F32))
        );
        let found = checkpoint.tensor("w.weight").unwrap().data;
        let scale = encoding::decode(dtype, &encoding::encode(dtype, &[1e-30]).unwrap().unwrap());
        let scale = scale.unwrap()[0];
        assert_eq!(found[..2], [scale * 3.0, scale * -4.0], "{dtype}");
        assert_eq!(
            found[32..34],
            [0.0, 0.0],
            "{dtype}: the scale of the second group"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn changed_files_give_errors_or_values(
        file in prop::sample::select(vec!["gptq", "gptq_v2", "awq"]),
        method in prop::sample::select(vec!["gptq", "awq"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        in_header in any::<bool>(),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut weights = fs::read(format!("{GOLDEN}/{file}.safetensors")).unwrap();
        // Digits of shapes and letters of names change most of what is read.
        let end = if in_header { 2600 } else { weights.len() };
        for (at, value) in changes {
            let at = at.index(end - 8) + 8;
            weights[at] = if in_header { b' ' + value % 90 } else { value };
        }
        if let Some(cut) = cut {
            weights.truncate(cut.index(weights.len()));
        }
        let mut config = golden_config(file);
        config["quant_method"] = json!(method);
        let dir = tempfile::tempdir().unwrap();
        if let Ok(checkpoint) = open_with(dir.path(), &config, &weights) {
            for name in checkpoint.names() {
                let shape = checkpoint.shape(&name).unwrap();
                if let Ok(tensor) = checkpoint.tensor(&name) {
                    prop_assert_eq!(tensor.data.len(), shape.iter().product::<usize>());
                }
                let _ = checkpoint.packed(&name);
            }
        }
    }
}
