//! Parquet: types that become text, nulls, and what is refused.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int64Array, LargeStringArray, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StringViewArray,
};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;

use crate::{Block, Document, SourceError, SourceOptions, Sources};

fn file(columns: Vec<(&str, ArrayRef)>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let out = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(out, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    (folder, path)
}

fn read(path: &PathBuf, block_bytes: usize) -> Vec<Result<Block, SourceError>> {
    let options = SourceOptions {
        block_bytes,
        ..SourceOptions::default()
    };
    Sources::list([path], options).unwrap().blocks().collect()
}

#[test]
fn known_columns_of_any_text_type_become_documents() {
    let mut terms = ListBuilder::new(StringBuilder::new());
    terms.append_value([Some("Heart"), Some("Rats")]);
    terms.append_null();
    let dictionary: DictionaryArray<Int32Type> = ["T", "U"].into_iter().collect();
    let texts: [ArrayRef; 4] = [
        Arc::new(StringArray::from(vec!["a", "b"])),
        Arc::new(LargeStringArray::from(vec!["a", "b"])),
        Arc::new(StringViewArray::from(vec!["a", "b"])),
        Arc::new(
            ["a", "b"]
                .into_iter()
                .collect::<DictionaryArray<Int32Type>>(),
        ),
    ];
    let terms: ArrayRef = Arc::new(terms.finish());
    for text in texts {
        let (_folder, path) = file(vec![
            ("other", Arc::new(Int64Array::from(vec![1, 2]))),
            ("year", Arc::new(Int64Array::from(vec![Some(1978), None]))),
            ("text", text),
            ("title", Arc::new(dictionary.clone())),
            ("mesh_terms", Arc::clone(&terms)),
            ("id", Arc::new(Int64Array::from(vec![7, 8]))),
        ]);
        let blocks: Vec<Block> = read(&path, 1 << 20)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let found: Vec<Document<'_>> = blocks
            .iter()
            .flat_map(Block::documents)
            .map(Result::unwrap)
            .collect();
        let first = Document {
            number: 1,
            id: Some("7".into()),
            title: Some("T".into()),
            text: "a".into(),
            year: Some(1978),
            mesh_terms: vec!["Heart".into(), "Rats".into()],
            source: None,
        };
        assert_eq!(found[0], first);
        assert_eq!(
            (found[1].year, found[1].mesh_terms.len(), found[1].number),
            (None, 0, 2)
        );
    }
}

#[test]
fn blocks_are_batches_of_about_their_size() {
    let texts: Vec<String> = (0..1000).map(|i| format!("{i:->100}")).collect();
    let (_folder, path) = file(vec![("text", Arc::new(StringArray::from(texts.clone())))]);
    let blocks: Vec<Block> = read(&path, 10_000)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!((5..=20).contains(&blocks.len()), "{} blocks", blocks.len());
    let found: Vec<(u64, String)> = blocks
        .iter()
        .flat_map(Block::documents)
        .map(|document| {
            document
                .map(|document| (document.number, document.text.into_owned()))
                .unwrap()
        })
        .collect();
    assert_eq!(found, (1..).zip(texts).collect::<Vec<_>>());
}

#[test]
fn a_null_text_is_a_broken_record() {
    let (_folder, path) = file(vec![(
        "text",
        Arc::new(StringArray::from(vec![Some("a"), None])),
    )]);
    let blocks = read(&path, 1000);
    let found: Vec<_> = blocks[0].as_ref().unwrap().documents().collect();
    assert!(found[0].is_ok());
    let error = found[1].as_ref().unwrap_err().to_string();
    assert!(error.ends_with("record 2: expected a text, found null, or bytes that are not UTF-8 (hint: rename the fields, or remove the record)"), "{error}");
}

#[test]
fn wrong_columns_are_named() {
    let (_folder, path) = file(vec![("content", Arc::new(StringArray::from(vec!["a"])))]);
    let error = read(&path, 1000).remove(0).unwrap_err().to_string();
    assert!(
        error.contains("expected a column `text` with the text, found `content`"),
        "{error}"
    );
    let (_folder, path) = file(vec![("text", Arc::new(Int64Array::from(vec![1])))]);
    let error = read(&path, 1000).remove(0).unwrap_err().to_string();
    assert!(
        error.contains("column `text`: expected strings, found Int64"),
        "{error}"
    );
}

#[test]
fn what_is_not_parquet_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    for bytes in [&b"PAR1"[..], b"", b"PAR1 nonsense nonsense PAR1"] {
        std::fs::write(&path, bytes).unwrap();
        let found = read(&path, 1000);
        assert!(
            matches!(found.as_slice(), [Err(SourceError::Parquet { .. })]),
            "{found:?}"
        );
    }
}
