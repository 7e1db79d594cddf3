//! JSON lines as documents.

use proptest::prelude::*;

use crate::{Block, Blocks, Document, FieldNames, SourceOptions};

fn block(text: &[u8], options: SourceOptions) -> Block {
    let input = std::io::Cursor::new(text.to_vec());
    let mut blocks = Blocks::from_reader(input, "x.jsonl", options).unwrap();
    blocks.next().unwrap().unwrap()
}

/// What is wrong with the only line.
#[track_caller]
fn error_of(line: &[u8]) -> String {
    let block = block(line, SourceOptions::default());
    let broken = block.documents().next().unwrap().unwrap_err();
    broken.to_string()
}

#[test]
fn fields_are_borrowed_and_the_line_is_kept() {
    let line = r#"{"id": 7, "content": "plain", "n": [{"a": -1.5e3}, null, true, "\u00e9"], "headline": "t\tt", "year": "1999", "mesh_terms": ["Heart"]}"#;
    let names = FieldNames {
        text: "content".into(),
        title: Some("headline".into()),
        ..FieldNames::default()
    };
    let options = SourceOptions {
        fields: names,
        ..SourceOptions::default()
    };
    let text = format!("\n  {line} \r\n");
    let block = block(text.as_bytes(), options);
    let found: Vec<Document<'_>> = block.documents().map(Result::unwrap).collect();
    let expected = Document {
        number: 2,
        id: Some("7".into()),
        title: Some("t\tt".into()),
        text: "plain".into(),
        year: Some(1999),
        mesh_terms: vec!["Heart".into()],
        source: Some(line),
    };
    assert_eq!(found, [expected]);
    assert!(matches!(found[0].text, std::borrow::Cow::Borrowed(_)));
}

#[test]
fn broken_lines_say_why() {
    insta::assert_snapshot!(error_of(br#"{"content": "a", "id": 1}"#), @"`x.jsonl`, line 1: expected a field `text` with the text, found `content`, `id` (hint: rename the fields, or remove the record)");
    insta::assert_snapshot!(error_of(b"[1]"), @"`x.jsonl`, line 1: expected one JSON object on the line, found: invalid type: sequence, expected one JSON object at line 1 column 3 (hint: correct or remove the line)");
    assert!(error_of(br#"{"text": "a"} x"#).contains("railing characters"));
    assert!(error_of(br#"{"text": "a", "text": "b"}"#).contains("the text's field twice"));
    insta::assert_snapshot!(error_of(b"{\"text\": \"\xc3\x28\"}"), @"`x.jsonl`, line 1: expected UTF-8, found other bytes after 10 good ones (hint: convert the file, for instance with `iconv -t UTF-8`)");
}

#[test]
fn deep_json_is_refused_whatever_its_depth() {
    for (open, n) in [
        ("[", 300),
        ("{\"a\":", 300),
        ("[", 4_000_000),
        ("{\"a\":", 1_000_000),
    ] {
        let line = format!("{{\"text\": \"a\", \"x\": {}", open.repeat(n));
        let error = error_of(line.as_bytes());
        assert!(error.contains("line 1") && error.len() < 400, "{error}");
    }
    let fine = format!(
        "{{\"text\": \"a\", \"x\": {}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let block = block(fine.as_bytes(), SourceOptions::default());
    assert!(block.documents().all(|document| document.is_ok()));
}

#[test]
fn one_line_of_other_bytes_does_not_spoil_the_block() {
    let block = block(
        b"{\"text\": \"a\"}\n\xff\n{\"text\": \"\xc3\xa9\"}\n",
        SourceOptions::default(),
    );
    let found: Vec<_> = block
        .documents()
        .map(|document| document.ok().map(|document| document.text))
        .collect();
    assert_eq!(found, [Some("a".into()), None, Some("é".into())]);
}

proptest! {
    #[test]
    fn lines_are_parsed_as_serde_json_does(
        text in "([\\[\\]{}:,\"\\\\ ]|\"text\"|\"id\"|\"a\"|[0-9]|-|\\.|e|null|true|\\\\u00e9|é){0,40}",
    ) {
        let line = format!("{{\"text\": \"x\", {text}}}");
        let block = block(line.as_bytes(), SourceOptions { fields: FieldNames {
            id: None, title: None, year: None, mesh_terms: None, ..FieldNames::default()
        }, ..SourceOptions::default() });
        let is_whole = block.documents().next().unwrap().is_ok();
        #[derive(serde::Deserialize)]
        struct Line { #[serde(rename = "text")] _text: Option<String>, #[serde(flatten)] _other: serde_json::Value }
        let expected = serde_json::from_str::<Line>(&line).is_ok_and(|line| line._text.is_some());
        prop_assert_eq!(is_whole, expected, "{}", line);
    }
}
