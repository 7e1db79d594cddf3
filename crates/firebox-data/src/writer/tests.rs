//! Written files are read back as they were, and appear whole or not at all.

use std::path::Path;

use proptest::prelude::*;

use super::{RecordWriter, WriteError, WriteOptions};
use crate::{Block, Blocks, Document, SourceOptions, Sources};

fn lines_of(path: &Path) -> Vec<String> {
    let sources = Sources::list([path], SourceOptions::default()).unwrap();
    let blocks: Vec<Block> = sources.blocks().map(Result::unwrap).collect();
    let documents = blocks.iter().flat_map(Block::documents);
    documents
        .map(|document| document.unwrap().source.unwrap().to_string())
        .collect()
}

fn document(text: &str) -> Document<'_> {
    Document {
        text: text.into(),
        ..Document::default()
    }
}

/// Writes the line with a text that may be changed.
fn rewritten(line: &str, change: impl Fn(&str) -> String) -> String {
    let blocks = Blocks::from_reader(
        std::io::Cursor::new(line.to_string()),
        "x",
        SourceOptions::default(),
    );
    let block = blocks.unwrap().next().unwrap().unwrap();
    let mut document = block.documents().next().unwrap().unwrap();
    document.text = change(&document.text).into();
    let mut out = Vec::new();
    super::json_line::append_json_line(&document, "text", &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_unchanged_document_is_copied_byte_for_byte() {
    let lines = [
        r#"{ "id":1.0, "text" : "plain" , "other": {"text": "x"}}"#,
        r#"{"text":"caf\u00e9 \/ \ud83d\ude00\n","x":1e5}"#,
        r#"{"text":""}"#,
    ];
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (
        folder.path().join("a.jsonl"),
        folder.path().join("b.jsonl.zst"),
    );
    std::fs::write(&from, lines.join("\r\n\n")).unwrap();
    let mut writer = RecordWriter::create(&to, WriteOptions::default()).unwrap();
    for block in Sources::list([&from], SourceOptions::default())
        .unwrap()
        .blocks()
    {
        for document in block.unwrap().documents() {
            writer.write(&document.unwrap()).unwrap();
        }
    }
    assert_eq!(writer.finish().unwrap().n_documents, 3);
    assert_eq!(lines_of(&to), lines);
    for line in lines {
        assert_eq!(rewritten(line, str::to_string), format!("{line}\n"));
    }
}

#[test]
fn a_changed_text_replaces_the_value_and_nothing_else() {
    let line = r#"{"a": "text", "b": {"text": "no"}, "text" : "old\t", "c": [1, 2]}"#;
    let expected = "{\"a\": \"text\", \"b\": {\"text\": \"no\"}, \"text\" : \"new\\n\\\"é\\\"\", \"c\": [1, 2]}\n";
    assert_eq!(rewritten(line, |_| "new\n\"é\"".to_string()), expected);
}

#[test]
fn a_part_of_the_source_is_not_taken_for_the_whole_text() {
    let source = r#"{"text": "one two"}"#;
    let part = Document {
        text: std::borrow::Cow::Borrowed(&source[10..13]),
        source: Some(source),
        ..Document::default()
    };
    let mut out = Vec::new();
    super::json_line::append_json_line(&part, "text", &mut out).unwrap();
    assert_eq!(out, b"{\"text\": \"one\"}\n");
    let other_field = super::json_line::append_json_line(&part, "content", &mut out);
    assert!(matches!(other_field, Err(WriteError::NoTextField { .. })));
}

proptest! {
    #[test]
    fn any_new_text_is_read_back(old: String, new: String) {
        let line = serde_json::json!({"id": 1, "text": old, "z": [null]}).to_string();
        let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
        value["text"] = new.clone().into();
        let found: serde_json::Value = serde_json::from_str(&rewritten(&line, |_| new.clone())).unwrap();
        prop_assert_eq!(found, value);
    }
}

#[test]
fn documents_without_source_get_the_known_fields() {
    let full = Document {
        number: 3,
        id: Some("7".into()),
        title: Some("T".into()),
        text: "a\n".into(),
        year: Some(1978),
        mesh_terms: vec!["Heart".into()],
        source: None,
    };
    let mut out = Vec::new();
    super::json_line::append_json_line(&full, "text", &mut out).unwrap();
    super::json_line::append_json_line(&document("b"), "text", &mut out).unwrap();
    let expected = "{\"id\":\"7\",\"title\":\"T\",\"text\":\"a\\n\",\"year\":1978,\"mesh_terms\":[\"Heart\"]}\n{\"text\":\"b\"}\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn chunks_sealed_elsewhere_make_the_file_that_one_thread_makes() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..100).map(|i| format!("number {i}")).collect();
    for ending in ["jsonl", "jsonl.gz", "jsonl.zst"] {
        let path = |name: &str| folder.path().join(format!("{name}.{ending}"));
        let options = WriteOptions {
            chunk_bytes: 200,
            ..WriteOptions::default()
        };
        let mut serial = RecordWriter::create(path("a"), options.clone()).unwrap();
        for text in &texts {
            serial.write(&document(text)).unwrap();
        }
        serial.finish().unwrap();
        let mut writer = RecordWriter::create(path("b"), options).unwrap();
        let maker = writer.chunks();
        let sealed: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = texts
                .chunks(30)
                .map(|texts| {
                    let mut chunk = maker.chunk();
                    scope.spawn(move || {
                        texts
                            .iter()
                            .for_each(|text| chunk.push(&document(text)).unwrap());
                        chunk.seal().unwrap()
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .collect()
        });
        for chunk in sealed {
            writer.write_chunk(chunk).unwrap();
        }
        assert_eq!(writer.finish().unwrap().n_documents, 100);
        assert_eq!(lines_of(&path("a")), lines_of(&path("b")));
        assert_eq!(lines_of(&path("a")).len(), 100);
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let documents: Vec<Document<'_>> = (1..=500_u16)
        .map(|i| Document {
            number: i.into(),
            id: (i % 3 == 0).then(|| i.to_string().into()),
            title: (i % 2 == 0).then(|| "T".into()),
            text: format!("text {i}").into(),
            year: (i % 5 == 0).then_some(i),
            mesh_terms: vec!["Heart".into(); usize::from(i % 3)],
            source: None,
        })
        .collect();
    let options = WriteOptions {
        chunk_bytes: 1000,
        ..WriteOptions::default()
    };
    let mut writer = RecordWriter::create(&path, options).unwrap();
    for document in &documents {
        writer.write(document).unwrap();
    }
    let written = writer.finish().unwrap();
    assert_eq!(written.n_bytes, path.metadata().unwrap().len());
    let sources = Sources::list([&path], SourceOptions::default()).unwrap();
    let blocks: Vec<Block> = sources.blocks().map(Result::unwrap).collect();
    let found: Vec<Document<'_>> = blocks
        .iter()
        .flat_map(Block::documents)
        .map(Result::unwrap)
        .collect();
    assert_eq!(found, documents);
}

#[test]
fn a_writer_that_is_dropped_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    std::fs::write(&path, "old").unwrap();
    let mut writer = RecordWriter::create(&path, WriteOptions::default()).unwrap();
    writer.write(&document("new")).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_file_without_documents_is_a_file_of_its_format() {
    let folder = tempfile::tempdir().unwrap();
    let mut names = vec!["x.jsonl", "x.jsonl.gz", "x.jsonl.zst"];
    names.extend(cfg!(feature = "parquet").then_some("x.parquet"));
    for name in names {
        let path = folder.path().join(name);
        let writer = RecordWriter::create(&path, WriteOptions::default()).unwrap();
        assert_eq!(writer.finish().unwrap().n_documents, 0);
        assert_eq!(lines_of(&path), [""; 0], "{name}");
    }
}

#[test]
fn names_that_say_no_format_are_refused() {
    let error = RecordWriter::create("x.csv", WriteOptions::default())
        .err()
        .unwrap();
    insta::assert_snapshot!(error, @"write `x.csv`: expected a name ending in .jsonl, .jsonl.gz, .jsonl.zst or .parquet, found another (hint: rename the output)");
}
