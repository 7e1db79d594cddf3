use std::{collections::BTreeMap, fs, path::Path};

use proptest::prelude::*;
use safetensors::SafeTensors;

use super::*;
use crate::{Checkpoint, Dtype};

/// A file with this header, and this many bytes of data.
fn file(header: &str, n_data: usize) -> Vec<u8> {
    let data = (0..n_data).map(|i| i as u8);
    (header.len() as u64)
        .to_le_bytes()
        .into_iter()
        .chain(header.bytes())
        .chain(data)
        .collect()
}

fn entry(name: &str, dtype: &str, shape: &[u64], begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
}

fn two_tensors() -> Vec<u8> {
    let (a, b) = (
        entry("a", "F32", &[2, 2], 0, 16),
        entry("b", "BF16", &[3], 16, 22),
    );
    file(
        &format!(r#"{{"__metadata__":{{"format":"pt"}},{a},{b}}}"#),
        22,
    )
}

/// Broken files by what is wrong with them.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let header = |entries: &[String], n_data| file(&format!("{{{}}}", entries.join(",")), n_data);
    let mut long_header = two_tensors();
    long_header[..8].copy_from_slice(&1_000_000u64.to_le_bytes());
    let mut huge_header = two_tensors();
    huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut truncated = two_tensors();
    truncated.truncate(truncated.len() - 10);
    let mut trailing = two_tensors();
    trailing.push(0);
    let a = || entry("a", "F32", &[2], 0, 8);
    vec![
        ("empty", Vec::new()),
        ("shorter than its length field", vec![1, 2, 3]),
        ("header longer than the file", long_header),
        ("header length of all ones", huge_header),
        ("truncated", truncated),
        ("trailing byte", trailing),
        ("not JSON", file("{\"a\": oops}", 0)),
        ("not an object", file("[1, 2, 3, 4]", 0)),
        ("not UTF-8", [&3u64.to_le_bytes()[..], b"{\"\xff"].concat()),
        (
            "negative size",
            file(
                r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
        (
            "missing field",
            file(r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4),
        ),
        (
            "unknown dtype",
            header(&[entry("a", "F4\\u001b[31m", &[2], 0, 1)], 1),
        ),
        (
            "wrong dtype for its bytes",
            header(&[entry("a", "F16", &[2], 0, 8)], 8),
        ),
        (
            "end before begin",
            header(&[entry("a", "F32", &[2], 8, 0)], 8),
        ),
        (
            "data beyond the file",
            header(&[entry("a", "F32", &[4], 0, 16)], 8),
        ),
        (
            "offsets near 2^64",
            header(&[entry("a", "F32", &[2], u64::MAX - 8, u64::MAX)], 8),
        ),
        (
            "shape that overflows",
            header(&[entry("a", "F32", &[1 << 40, 1 << 40], 0, 8)], 8),
        ),
        (
            "overlap",
            header(&[a(), entry("b", "F32", &[2], 4, 12)], 12),
        ),
        ("gap", header(&[a(), entry("b", "F32", &[1], 12, 16)], 16)),
        (
            "gap at the front",
            header(&[entry("a", "F32", &[1], 4, 8)], 8),
        ),
        (
            "same name twice",
            header(&[a(), entry("a", "F32", &[2], 8, 16)], 16),
        ),
        (
            "metadata twice",
            file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0),
        ),
        (
            "metadata that is no text",
            file(r#"{"__metadata__":{"a":1}}"#, 0),
        ),
    ]
}

#[test]
fn every_broken_rule_is_named_with_tensor_and_byte() {
    let texts: Vec<String> = malformed()
        .into_iter()
        .map(|(case, bytes)| {
            let error = SafetensorsHeader::parse(&bytes).unwrap_err();
            format!("{case}\n    {error}")
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn error_of_a_file_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for (case, bytes) in malformed() {
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(error.contains("model.safetensors`"), "{case}: {error}");
    }
}

#[test]
fn tensors_are_found_where_they_lie() {
    let bytes = two_tensors();
    let header = SafetensorsHeader::parse(&bytes).unwrap();
    assert_eq!(header.metadata["format"], "pt");
    let b = &header.tensors["b"];
    assert_eq!(
        (b.dtype, &*b.shape, &bytes[b.range.clone()]),
        (Dtype::BF16, &[3][..], &[16, 17, 18, 19, 20, 21][..])
    );
}

#[test]
fn empty_and_scalar_tensors_are_read() {
    let bytes = file(
        &format!(
            "{{{},{}}}",
            entry("none", "F32", &[0, 7], 0, 0),
            entry("one", "F64", &[], 0, 8)
        ),
        8,
    );
    let header = SafetensorsHeader::parse(&bytes).unwrap();
    assert_eq!(header.tensors["none"].shape, [0, 7]);
    assert_eq!(header.tensors["one"].shape, [0; 0]);
}

#[test]
fn unpadded_header_leaves_data_unaligned_and_readable() {
    for padding in 0..8 {
        let header = format!(
            "{{{}}}{}",
            entry("a", "F32", &[2], 0, 8),
            " ".repeat(padding)
        );
        let mut bytes = file(&header, 0);
        bytes.extend([1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()));
        let checkpoint = Checkpoint::from_bytes(Path::new("x.safetensors"), bytes).unwrap();
        assert_eq!(checkpoint.tensor("a").unwrap().data, [1.5, -2.0]);
    }
}

fn plan() -> impl Strategy<Value = BTreeMap<String, (Dtype, Vec<usize>)>> {
    let dtype = prop::sample::select(vec![
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::U8,
        Dtype::I64,
    ]);
    let shape = prop::collection::vec(0usize..5, 0..4);
    prop::collection::btree_map("[a-z.\"\\\\é]{1,12}", (dtype, shape), 0..8)
}

proptest! {
    #[test]
    fn written_header_is_read_by_us_and_by_the_safetensors_crate(plan in plan()) {
        let tensors: Vec<PlannedTensor> = plan
            .into_iter()
            .map(|(name, (dtype, shape))| {
                let n_bytes = shape.iter().product::<usize>() * dtype.n_bytes();
                PlannedTensor { name, dtype, shape, n_bytes }
            })
            .collect();
        let mut bytes = header_bytes(&[("format", "pt")], &tensors);
        prop_assert_eq!(bytes.len() % 8, 0);
        bytes.resize(bytes.len() + tensors.iter().map(|tensor| tensor.n_bytes).sum::<usize>(), 7);
        let ours = SafetensorsHeader::parse(&bytes).unwrap();
        let theirs = SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(ours.tensors.len(), tensors.len());
        for tensor in &tensors {
            let view = theirs.tensor(&tensor.name).unwrap();
            let entry = &ours.tensors[&tensor.name];
            prop_assert_eq!(&entry.shape, &tensor.shape);
            prop_assert_eq!(view.shape(), &tensor.shape[..]);
            prop_assert_eq!(view.data(), &bytes[entry.range.clone()]);
        }
    }

    #[test]
    fn changed_bytes_never_panic_and_never_give_more_than_the_safetensors_crate(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = two_tensors();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(header) = SafetensorsHeader::parse(&bytes) {
            for entry in header.tensors.values() {
                prop_assert_eq!(bytes[entry.range.clone()].len(),
                    entry.shape.iter().product::<usize>() * entry.dtype.n_bytes());
            }
            prop_assert!(SafeTensors::deserialize(&bytes).is_ok());
        }
    }
}
