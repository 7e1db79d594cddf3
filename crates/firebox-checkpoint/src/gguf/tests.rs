use std::{fs, path::Path};

use proptest::prelude::*;

use super::{
    test_file::{GgufBuilder, string, tiny_llama},
    *,
};
use crate::{Checkpoint, SafetensorsHeader};

fn golden(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name),
    )
    .unwrap()
}

#[test]
fn every_encoding_decodes_to_the_bits_of_the_gguf_package() {
    let file = golden("gguf_blocks.safetensors");
    let header = SafetensorsHeader::parse(&file).unwrap();
    for kind in GgmlType::ALL {
        let part = |name: &str| &file[header.tensors[&format!("{kind}.{name}")].range.clone()];
        let (expected, _) = part("values").as_chunks::<4>();
        let found = blocks::dequantize(kind, part("blocks"));
        assert_eq!(found.len(), expected.len(), "{kind}");
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let expected = f32::from_le_bytes(*expected);
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{kind} {index}: {found} {expected}"
            );
        }
    }
}

#[test]
fn chunks_on_all_cores_decode_as_single_blocks_do() {
    for kind in GgmlType::ALL {
        let n_blocks = (1 << 16) / kind.block_len() + 3;
        let bytes: Vec<u8> = (0..n_blocks * kind.block_bytes())
            .map(|i| (i * i / 7 + i) as u8)
            .collect();
        let whole = blocks::dequantize(kind, &bytes);
        let single: Vec<f32> = bytes
            .chunks(kind.block_bytes())
            .flat_map(|block| blocks::dequantize(kind, block))
            .collect();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&whole), bits(&single), "{kind}");
    }
}

#[test]
fn every_metadata_type_is_read() {
    let Gguf { metadata, .. } = Gguf::parse(&golden("tiny_llama.gguf")).unwrap();
    let value = |key: &str| metadata[&format!("test.{key}")].clone();
    assert_eq!(value("u8"), GgufValue::U8(200));
    assert_eq!(value("i8"), GgufValue::I8(-100));
    assert_eq!(value("u16"), GgufValue::U16(60_000));
    assert_eq!(value("i16"), GgufValue::I16(-30_000));
    assert_eq!(value("i32"), GgufValue::I32(-2_000_000_000));
    assert_eq!(value("u64"), GgufValue::U64((1 << 63) + 1));
    assert_eq!(value("i64"), GgufValue::I64(-(1 << 62)));
    assert_eq!(value("f64"), GgufValue::F64(0.1));
    assert_eq!(value("bool"), GgufValue::Bool(true));
    assert_eq!(
        value("bools"),
        GgufValue::Array(GgufArray::Bool(vec![true, false]))
    );
    assert_eq!(
        value("floats"),
        GgufValue::Array(GgufArray::F32(vec![0.5, 1.5]))
    );
    let GgufValue::Array(GgufArray::Array(rows)) = value("nested") else {
        panic!("not nested")
    };
    assert_eq!(rows[0].to_i64s().unwrap(), [1, 2]);
    assert_eq!(rows[1].to_i64s().unwrap(), [3]);
    assert_eq!(
        metadata["llama.attention.layer_norm_rms_epsilon"].as_f64(),
        Some(1e-5)
    );
}

#[test]
fn version_two_and_another_alignment_are_read() {
    let at_64 = |version| {
        let builder = GgufBuilder::new()
            .version(version)
            .u32("general.alignment", 64);
        let mut bytes = builder
            .listed("a", &[2], 0, 0)
            .listed("b", &[1], 0, 64)
            .bytes();
        bytes.resize(bytes.len().next_multiple_of(64), 0);
        bytes.extend([7u8; 68]);
        Gguf::parse(&bytes)
    };
    assert_eq!(at_64(2).unwrap(), at_64(3).unwrap());
    assert_eq!(at_64(2).unwrap().tensors[1].range.len(), 4);
}

/// An array of arrays of ... of nothing.
fn nested(depth: usize) -> Vec<u8> {
    let level = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat();
    [
        level.repeat(depth),
        [&0u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat(),
    ]
    .concat()
}

/// Files whose counts and metadata are broken, by what is wrong with them.
fn malformed_metadata() -> Vec<(&'static str, Vec<u8>)> {
    let new = GgufBuilder::new;
    let array = |kind: u32, len: u64| [&kind.to_le_bytes()[..], &len.to_le_bytes()].concat();
    vec![
        ("empty", Vec::new()),
        ("another magic", b"GGML\x03\0\0\0".to_vec()),
        ("version 1", new().version(1).bytes()),
        ("big-endian", new().version(3u32.swap_bytes()).bytes()),
        (
            "forged tensor count",
            new().forge_counts(u64::MAX, 0).bytes(),
        ),
        ("forged key count", new().forge_counts(0, 1 << 40).bytes()),
        (
            "count larger than the list",
            new().u32("a", 1).forge_counts(0, 2).bytes(),
        ),
        (
            "forged string length",
            new().raw("a", 8, &u64::MAX.to_le_bytes()).bytes(),
        ),
        (
            "forged array length",
            new().raw("a", 9, &array(6, 1 << 62)).bytes(),
        ),
        (
            "forged array of strings",
            new().raw("a", 9, &array(8, 1 << 32)).bytes(),
        ),
        (
            "forged array of arrays",
            new().raw("a", 9, &array(9, 1 << 32)).bytes(),
        ),
        (
            "array of an unknown type",
            new().raw("a", 9, &array(13, 0)).bytes(),
        ),
        (
            "arrays nested deeply",
            new().raw("a", 9, &nested(100)).bytes(),
        ),
        (
            "value of an unknown type",
            new().raw("a", 99, &[0; 8]).bytes(),
        ),
        ("truth value of 2", new().raw("a", 7, &[2]).bytes()),
        ("key twice", new().u32("a", 1).u32("a", 2).bytes()),
        (
            "text that is not UTF-8",
            new().raw("a", 8, &string(b"ok\xff\xfe")).bytes(),
        ),
        ("alignment of 0", new().u32("general.alignment", 0).bytes()),
        (
            "alignment of 48",
            new().u32("general.alignment", 48).bytes(),
        ),
        (
            "alignment that is a text",
            new().str("general.alignment", "32").bytes(),
        ),
    ]
}

/// Files whose tensors are broken, by what is wrong with them.
fn malformed_tensors() -> Vec<(&'static str, Vec<u8>)> {
    let listed = |axes: &[u64], kind, offset| GgufBuilder::new().listed("t", axes, kind, offset);
    let cut = |n_bytes: usize| {
        let mut bytes = tiny_llama().bytes();
        bytes.truncate(bytes.len() - n_bytes);
        bytes
    };
    vec![
        ("five axes", listed(&[1; 5], 0, 0).data(32).bytes()),
        (
            "encoding that is not read",
            listed(&[256], 10, 0).data(96).bytes(),
        ),
        (
            "encoding that does not exist",
            listed(&[32], 4000, 0).data(96).bytes(),
        ),
        (
            "row of half a block",
            listed(&[48, 2], 2, 0).data(96).bytes(),
        ),
        (
            "shape that overflows",
            listed(&[1 << 40, 1 << 40], 0, 0).data(32).bytes(),
        ),
        (
            "tensor twice",
            listed(&[1], 0, 0).listed("t", &[1], 0, 32).data(64).bytes(),
        ),
        (
            "tensor off its alignment",
            listed(&[1], 0, 4).data(32).bytes(),
        ),
        (
            "tensor beyond the file",
            listed(&[9], 0, 0).data(32).bytes(),
        ),
        (
            "offset near 2^64",
            listed(&[1], 0, u64::MAX - 31).data(32).bytes(),
        ),
        (
            "overlap",
            listed(&[16], 0, 0)
                .listed("u", &[8], 0, 32)
                .data(64)
                .bytes(),
        ),
        ("data cut off", cut(40)),
        ("list cut off", cut(800)),
    ]
}

fn malformed() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    malformed_metadata().into_iter().chain(malformed_tensors())
}

#[test]
fn every_broken_rule_is_named_with_item_and_byte() {
    let texts: Vec<String> = malformed()
        .map(|(case, bytes)| {
            let error = Gguf::parse(&bytes).unwrap_err();
            format!("{case}\n    {error}")
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn error_of_a_file_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    for (case, bytes) in malformed() {
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(error.contains("model.gguf`"), "{case}: {error}");
    }
}

/// Opens, decodes and rebuilds all there is: none of it may panic.
fn use_all(bytes: Vec<u8>) {
    if let Ok(checkpoint) = Checkpoint::from_bytes(Path::new("m.gguf"), bytes) {
        for name in checkpoint.names() {
            let tensor = checkpoint.tensor(&name).unwrap();
            assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>());
        }
        let _ = checkpoint.tokenizer_json();
    }
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = tiny_llama().bytes();
    assert!(Gguf::parse(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(Gguf::parse(&bytes[..len]).is_err(), "cut to {len}");
    }
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((0usize..2000, any::<u8>()), 1..6),
    ) {
        let mut bytes = tiny_llama().bytes();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        use_all(bytes);
    }

    #[test]
    fn any_bytes_after_the_magic_never_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        use_all([&b"GGUF\x03\0\0\0"[..], &tail].concat());
    }
}

/// Found by fuzzing: an empty tensor in a file that ends before its data section begins.
#[test]
fn an_empty_tensor_past_the_end_of_the_file_is_an_error() {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend(1_u64.to_le_bytes()); // tensors
    file.extend(0_u64.to_le_bytes()); // metadata pairs
    file.extend(1_u64.to_le_bytes()); // length of the name
    file.push(b't');
    file.extend(1_u32.to_le_bytes()); // axes
    file.extend(0_u64.to_le_bytes()); // size
    file.extend(0_u32.to_le_bytes()); // F32
    file.extend(0_u64.to_le_bytes()); // offset
    assert!(!file.len().is_multiple_of(32));
    assert!(Gguf::parse(&file).is_err());
    file.resize(file.len().next_multiple_of(32), 0);
    assert!(
        Gguf::parse(&file).unwrap().tensors[0]
            .decode(&file)
            .is_empty()
    );
}
