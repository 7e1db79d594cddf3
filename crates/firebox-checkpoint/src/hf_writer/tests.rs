use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::packed_layout::CONFIG_KEY;

struct Fixture {
    dir: TempDir,
    writer: HfWriter,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = HfWriter::create(&dir.path().join("model")).unwrap();
    writer.set_config(json!({"model_type": "llama"}));
    Fixture { dir, writer }
}

impl Fixture {
    fn path(&self) -> PathBuf {
        self.dir.path().join("model")
    }
}

#[test]
fn order_of_writing_does_not_change_the_bytes() {
    let write = |order: [usize; 3]| {
        let mut fixture = fixture();
        let tensors = [("b", vec![1.0f32, 2.0]), ("a", vec![3.0]), ("c", vec![])];
        for (name, values) in &tensors {
            fixture
                .writer
                .declare(name, Dtype::F16, &[values.len()])
                .unwrap();
        }
        for at in order {
            fixture
                .writer
                .write_tensor(tensors[at].0, &tensors[at].1)
                .unwrap();
        }
        let path = fixture.path();
        fixture.writer.finish().unwrap();
        fs::read(path.join("model.safetensors")).unwrap()
    };
    assert_eq!(write([0, 1, 2]), write([2, 0, 1]));
}

#[test]
fn nothing_is_at_the_path_before_the_end() {
    let mut fixture = fixture();
    fixture.writer.declare("a", Dtype::F32, &[1]).unwrap();
    fixture.writer.write_tensor("a", &[1.0]).unwrap();
    assert!(!fixture.path().exists());
    let path = fixture.path();
    drop(fixture.writer);
    assert!(!path.exists());
    assert_eq!(fs::read_dir(fixture.dir.path()).unwrap().count(), 0);
}

#[test]
fn wrong_use_is_named() {
    let mut fixture = fixture();
    let writer = &mut fixture.writer;
    writer.declare("a", Dtype::F16, &[2]).unwrap();
    writer.declare("b", Dtype::BF16, &[1]).unwrap();
    let packed = PackedMatrix::pack(PackedFormat::Int8Rowwise, &[1.0; 4], 2, 2).unwrap();
    let mut errors = vec![
        writer.declare("a", Dtype::F32, &[1]).unwrap_err(),
        writer.declare("i", Dtype::I64, &[1]).unwrap_err(),
        writer
            .declare("x", Dtype::F32, &[usize::MAX, 2])
            .unwrap_err(),
        writer
            .declare_packed("x", PackedFormat::Q8_0, [2, 33])
            .unwrap_err(),
        writer.write_tensor("c", &[1.0]).unwrap_err(),
        writer.write_tensor("a", &[1.0]).unwrap_err(),
        writer.write_tensor("a", &[1.0, f32::NAN]).unwrap_err(),
        writer.write_tensor("a", &[1.0, 70_000.0]).unwrap_err(),
        writer.write_packed("a", &packed).unwrap_err(),
    ];
    writer
        .declare_packed("p", PackedFormat::Nf4, [2, 2])
        .unwrap();
    errors.push(writer.write_packed("p", &packed).unwrap_err());
    writer.write_tensor("a", &[1.0, 2.0]).unwrap();
    errors.push(writer.write_tensor("a", &[1.0, 2.0]).unwrap_err());
    errors.push(writer.declare("d", Dtype::F32, &[1]).unwrap_err());
    let dir = fixture.dir.path().to_string_lossy().into_owned();
    errors.push(fixture.writer.finish().unwrap_err());
    let no_config = HfWriter::create(&fixture.dir.path().join("other")).unwrap();
    errors.push(no_config.finish().unwrap_err());
    let texts: Vec<String> = errors
        .iter()
        .map(|error| error.to_string().replace(&dir, "DIR"))
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

/// A matrix whose rows suit every format.
/// Six rows.
fn weight(n_cols: usize) -> Vec<f32> {
    (0..6 * n_cols)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 100.0)
        .collect()
}

#[test]
fn packed_weights_come_back_packed_and_alike() {
    for format in PackedFormat::ALL {
        let mut fixture = fixture();
        let matrix = PackedMatrix::pack(format, &weight(256), 6, 256).unwrap();
        let name = "model.layers.0.mlp.up_proj.weight";
        fixture
            .writer
            .declare_packed(name, format, [6, 256])
            .unwrap();
        fixture
            .writer
            .declare("model.norm.weight", Dtype::F32, &[1])
            .unwrap();
        fixture.writer.write_packed(name, &matrix).unwrap();
        fixture
            .writer
            .write_tensor("model.norm.weight", &[1.0])
            .unwrap();
        let path = fixture.path();
        fixture.writer.finish().unwrap();

        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.names(), [name, "model.norm.weight"]);
        assert_eq!(checkpoint.shape(name), Some(vec![6, 256]));
        assert_eq!(checkpoint.storage(name).unwrap().to_string(), format.name());
        let back = checkpoint.packed(name).unwrap().unwrap();
        assert_eq!(back.parts(), matrix.parts());
        assert_eq!(checkpoint.tensor(name).unwrap().data, matrix.unpack());
        let file = fs::read(path.join("model.safetensors")).unwrap();
        let header = crate::SafetensorsHeader::parse(&file).unwrap();
        assert_eq!(header.metadata["firebox_packed_version"], "1");
        assert_eq!(header.metadata["format"], "pt");
    }
}

#[test]
fn config_that_lies_about_packed_weights_is_an_error() {
    let mut fixture = fixture();
    let matrix = PackedMatrix::pack(PackedFormat::Nf4, &weight(64), 6, 64).unwrap();
    fixture
        .writer
        .declare_packed("w", PackedFormat::Nf4, [6, 64])
        .unwrap();
    fixture.writer.write_packed("w", &matrix).unwrap();
    let path = fixture.path();
    let dir = fixture.dir.path().to_string_lossy().into_owned();
    fixture.writer.finish().unwrap();
    let tensors = |name: &str, entry: Value| json!({"version": 1, "tensors": {name: entry}});
    let lies = [
        json!({"version": 2, "tensors": {}}),
        json!({"version": 1}),
        tensors("w", json!({"format": "nf5", "shape": [6, 64]})),
        tensors("w", json!({"format": "nf4", "shape": [6]})),
        tensors("w", json!({"format": "nf4", "shape": [6, -64]})),
        tensors("w", json!({"format": "nf4", "shape": [6, 640]})),
        tensors("w", json!({"format": "nf4", "shape": [u64::MAX, 64]})),
        tensors("w", json!({"format": "nf4-dq", "shape": [6, 64]})),
        tensors("v", json!({"format": "nf4", "shape": [6, 64]})),
    ];
    let texts: Vec<String> = lies
        .iter()
        .map(|lie| {
            fs::write(
                path.join("config.json"),
                json!({CONFIG_KEY: lie}).to_string(),
            )
            .unwrap();
            let error = match Checkpoint::open(&path) {
                Err(error) => error,
                Ok(checkpoint) => {
                    let name = checkpoint.names().pop().unwrap();
                    checkpoint.tensor(&name).unwrap_err()
                }
            };
            error.to_string().replace(&dir, "DIR")
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn directory_of_a_finished_model_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    for value in [1.0, 2.0] {
        let mut writer = HfWriter::create(&path).unwrap();
        writer.set_config(json!({}));
        writer.declare("a", Dtype::F32, &[1]).unwrap();
        writer.write_tensor("a", &[value]).unwrap();
        writer.finish().unwrap();
        assert_eq!(
            Checkpoint::open(&path).unwrap().tensor("a").unwrap().data,
            [value]
        );
    }
}
