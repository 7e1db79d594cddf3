use firebox_tensor::packed::PackedMatrix;

use super::*;
use crate::{Checkpoint, HfWriter, PackedLayout};

const NAME: &str = "model.layers.0.mlp.up_proj.weight";

fn written(dir: &Path, format: PackedFormat, shape: [usize; 2]) -> PackedMatrix {
    let n = shape[0] * shape[1];
    let values: Vec<f32> = (0..n)
        .map(|i| (i as f32 * 0.37).sin() * (1.0 + (i / 64) as f32))
        .collect();
    let matrix = PackedMatrix::pack(format, &values, shape[0], shape[1]).unwrap();
    let mut writer = HfWriter::create(dir).unwrap();
    writer.set_config(json!({"model_type": "llama"}));
    writer.set_packed_layout(PackedLayout::Bitsandbytes);
    writer.declare_packed(NAME, format, shape).unwrap();
    writer
        .declare("model.layers.0.mlp.down_proj.weight", Dtype::BF16, &[2, 2])
        .unwrap();
    writer.write_packed(NAME, &matrix).unwrap();
    writer
        .write_tensor("model.layers.0.mlp.down_proj.weight", &[1.0; 4])
        .unwrap();
    writer.finish().unwrap();
    matrix
}

#[test]
fn weights_come_back_from_the_layout_of_bitsandbytes() {
    // The second has a block that is not whole.
    for shape in [[40, 512], [3, 50]] {
        for format in [
            PackedFormat::Nf4,
            PackedFormat::Nf4DoubleQuant,
            PackedFormat::Fp4,
            PackedFormat::Fp4DoubleQuant,
            PackedFormat::Int8Rowwise,
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("model");
            let matrix = written(&path, format, shape);
            let checkpoint = Checkpoint::open(&path).unwrap();
            let names = [NAME.replace("up", "down"), NAME.to_owned()];
            assert_eq!(checkpoint.names(), names, "{format}");
            assert_eq!(checkpoint.shape(NAME), Some(shape.to_vec()));
            assert_eq!(checkpoint.packed(NAME).unwrap(), Some(matrix), "{format}");
            let config = &checkpoint.config()[CONFIG_KEY];
            let kept = json!(["model.layers.0.mlp.down_proj", "lm_head"]);
            assert_eq!(config["llm_int8_skip_modules"], kept);
            assert_eq!(
                config["load_in_8bit"],
                json!(format == PackedFormat::Int8Rowwise)
            );
            let is_fp4 = matches!(format, PackedFormat::Fp4 | PackedFormat::Fp4DoubleQuant);
            let kind = if is_fp4 { "fp4" } else { "nf4" };
            assert_eq!(config["bnb_4bit_quant_type"], json!(kind), "{format}");
        }
    }
}

#[test]
fn formats_that_bitsandbytes_has_not_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = HfWriter::create(&dir.path().join("model")).unwrap();
    writer.set_packed_layout(PackedLayout::Bitsandbytes);
    let error = writer
        .declare_packed(NAME, PackedFormat::Q4_0, [2, 64])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("nf4, nf4-dq, fp4, fp4-dq, int8, as bitsandbytes has"),
        "{error}"
    );
}

#[test]
fn nf4_and_fp4_lie_in_one_folder_but_not_beside_8_bits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    let mut writer = HfWriter::create(&path).unwrap();
    writer.set_config(json!({"model_type": "llama"}));
    writer.set_packed_layout(PackedLayout::Bitsandbytes);
    let values: Vec<f32> = (0..128).map(|i| (i as f32 * 0.7).sin()).collect();
    let formats = [PackedFormat::Nf4, PackedFormat::Fp4DoubleQuant];
    let names = formats.map(|format| format!("{format}_proj.weight"));
    for (name, format) in names.iter().zip(formats) {
        writer.declare_packed(name, format, [2, 64]).unwrap();
    }
    let error = writer.declare_packed(NAME, PackedFormat::Int8Rowwise, [2, 64]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("4 bits or 8, not both"), "{error}");
    let packed = formats.map(|format| PackedMatrix::pack(format, &values, 2, 64).unwrap());
    for (name, matrix) in names.iter().zip(&packed) {
        writer.write_packed(name, matrix).unwrap();
    }
    writer.finish().unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    for (name, matrix) in names.iter().zip(packed) {
        assert_eq!(checkpoint.packed(name).unwrap(), Some(matrix), "{name}");
    }
}

#[test]
fn codes_under_another_codebook_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let matrix = PackedMatrix::pack(PackedFormat::Fp4, &[0.5; 64], 1, 64).unwrap();
    let codebook = NF4_CODEBOOK.iter().flat_map(|x| x.to_le_bytes()).collect();
    let [codes, absmax, _, state] = <[Vec<u8>; 4]>::try_from(bytes(&matrix)).unwrap();
    let tensors: [(&str, &str, &[usize], Vec<u8>); 4] = [
        ("w.weight", "U8", &[32, 1], codes),
        ("w.weight.absmax", "F32", &[1], absmax),
        ("w.weight.quant_map", "F32", &[16], codebook),
        (
            "w.weight.quant_state.bitsandbytes__fp4",
            "U8",
            &[STATE_BYTES],
            state,
        ),
    ];
    let checkpoint = opened(dir.path(), &tensors).unwrap();
    let error = checkpoint.packed("w.weight").unwrap_err().to_string();
    assert!(
        error.contains("the codebook of fp4, found another"),
        "{error}"
    );
}

/// A file of these tensors, and what opening it says.
fn opened(dir: &Path, tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Result<Checkpoint, String> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let ends = [data.len(), data.len() + bytes.len()];
        header.insert(
            (*name).to_owned(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": ends}),
        );
        data.extend(bytes);
    }
    let header = Value::Object(header).to_string();
    let file = [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &data,
    ]
    .concat();
    std::fs::write(dir.join("model.safetensors"), file).unwrap();
    let config = json!({"model_type": "llama", CONFIG_KEY: {"quant_method": "bitsandbytes"}});
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    Checkpoint::open(dir).map_err(|error| error.to_string())
}

#[test]
fn what_is_damaged_or_of_another_kind_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let state = |text: &str, kind: &str| {
        let name: &str =
            Box::leak(format!("w.weight.quant_state.bitsandbytes__{kind}").into_boxed_str());
        opened(
            dir.path(),
            &[(name, "U8", &[text.len()], text.as_bytes().to_vec())],
        )
    };
    let error = |found: Result<Checkpoint, String>| found.map(|_| ()).unwrap_err();
    assert!(error(state("{}", "af4")).contains("the data type nf4 or fp4, found af4"));
    let text = r#"{"quant_type": "nf4", "blocksize": 64, "shape": [1, 64]}"#;
    assert!(error(state(text, "fp4")).contains("a `quant_type` fp4, as the state's name says"));
    let text = r#"{"blocksize": 64, "shape": [1, 64], "nested_blocksize": 128}"#;
    assert!(error(state(text, "fp4")).contains("scales in blocks of 256, found 128"));
    assert!(error(state("{", "nf4")).contains("`quant_state` in JSON"));
    for kind in ["nf4", "fp4"] {
        let found = error(state(r#"{"blocksize": 128}"#, kind));
        assert!(found.contains("blocks of 64, found 128"), "{found}");
    }
    assert!(error(state(r#"{"blocksize": 64, "shape": [-1, 2]}"#, "nf4")).contains("a shape"));
    assert!(error(opened(dir.path(), &[("w.SCB", "F32", &[1], vec![0; 4])])).contains("8 bits"));
    // The state alone is well, but nothing that it speaks of is there.
    let alone = state(r#"{"blocksize": 64, "shape": [1, 64]}"#, "nf4").unwrap();
    let error = alone.packed("w.weight").unwrap_err().to_string();
    assert!(
        error.contains("`w.weight` of U8 [32, 1], found none"),
        "{error}"
    );
}

#[test]
fn other_methods_are_named() {
    let dir = tempfile::tempdir().unwrap();
    opened(dir.path(), &[]).unwrap();
    let config = json!({"model_type": "llama", CONFIG_KEY: {"quant_method": "hqq"}});
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("found `quant_method` `hqq`"), "{error}");
}
