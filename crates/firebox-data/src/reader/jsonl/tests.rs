//! JSON Lines: what is a record, and what the errors say.

use proptest::prelude::*;

use super::JsonlReader;
use crate::{DataError, Message, ReadOptions, Record, TextRecord};

fn read(bytes: &[u8]) -> Vec<Result<Record, DataError>> {
    JsonlReader::new(
        bytes,
        "x.jsonl",
        ReadOptions {
            max_record_bytes: 1000,
        },
    )
    .collect()
}

#[track_caller]
fn check_text(line: &str, expected: TextRecord) {
    let records = read(line.as_bytes());
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(*records[0].as_ref().unwrap(), Record::Text(expected));
}

/// The message of the only error, with its cause.
#[track_caller]
fn error_of(line: &[u8]) -> String {
    let error = read(line).pop().unwrap().unwrap_err();
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn a_text_may_have_id_title_and_year() {
    check_text(
        r#"{"text": "x"}"#,
        TextRecord {
            text: "x".into(),
            ..TextRecord::default()
        },
    );
    let full = TextRecord {
        id: Some("399296".into()),
        title: Some("标题".into()),
        text: "a\nb".into(),
        year: Some(1979),
        mesh_terms: vec!["Heart".into()],
    };
    let line = r#"{"id":"399296","title":"\u6807题","text":"a\nb","year":"1979","mesh_terms":["Heart"],"score":[{}]}"#;
    check_text(line, full.clone());
    check_text(
        &line
            .replace("\"399296\"", "399296")
            .replace("\"1979\"", "1979"),
        full,
    );
    let none = TextRecord {
        text: String::new(),
        ..TextRecord::default()
    };
    check_text(
        r#"{"id":null,"title":null,"text":"","year":null,"messages":null}"#,
        none,
    );
}

#[test]
fn blank_lines_byte_order_marks_and_carriage_returns_pass() {
    let records = read("\u{feff}{\"text\":\"a\"}\r\n\n  \r\n{\"text\":\"b\"}".as_bytes());
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(Result::is_ok));
}

#[test]
fn messages_are_a_conversation() {
    let line = br#"{"messages": [{"role": "user", "content": "q", "name": "x"},
                                 {"role": "assistant", "content": "a"}]}"#;
    let line: Vec<u8> = line.iter().copied().filter(|&byte| byte != b'\n').collect();
    let expected = Record::Chat(vec![Message::user("q"), Message::assistant("a")]);
    assert_eq!(*read(&line)[0].as_ref().unwrap(), expected);
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    insta::assert_snapshot!(error_of(b"{\"text\": \"a\"}\n{\"text\": 3}"), @r#"parse `x.jsonl`, line 2: expected one JSON object, {"text": ..} or {"messages": [{"role": .., "content": ..}]} (hint: correct or remove the line): invalid type: integer `3`, expected a string at line 1 column 10"#);
    insta::assert_snapshot!(error_of(br#"{"prompt": "a", "completion": "b"}"#), @"parse `x.jsonl`, line 1: expected a field `text` or `messages`, found `completion`, `prompt` (hint: rename the fields, or remove the line)");
    insta::assert_snapshot!(error_of(b"{}"), @"parse `x.jsonl`, line 1: expected a field `text` or `messages`, found no fields (hint: rename the fields, or remove the line)");
    insta::assert_snapshot!(error_of(br#"{"messages": []}"#), @"parse `x.jsonl`, line 1: expected at least one message, found an empty list (hint: rename the fields, or remove the line)");
    insta::assert_snapshot!(error_of(br#"{"messages": [{"role": "user"}]}"#), @r#"parse `x.jsonl`, line 1: expected one JSON object, {"text": ..} or {"messages": [{"role": .., "content": ..}]} (hint: correct or remove the line): missing field `content` at line 1 column 30"#);
    insta::assert_snapshot!(error_of(br#"{"text": "", "year": "recent"}"#), @r#"parse `x.jsonl`, line 1: expected one JSON object, {"text": ..} or {"messages": [{"role": .., "content": ..}]} (hint: correct or remove the line): expected the year as a whole number up to 65535, or null, found `recent` at line 1 column 30"#);
    insta::assert_snapshot!(error_of(b"{\"text\": \"\xff\"}"), @"read `x.jsonl`, line 1: expected UTF-8, found other bytes after 10 good ones (hint: convert the file, for instance with `iconv -t UTF-8`)");
}

#[test]
fn reading_goes_on_after_a_bad_line() {
    let records = read(b"{\"text\":\"a\"}\nnonsense\n[1]\n{\"text\":\"b\"}\n");
    let is_ok: Vec<bool> = records.iter().map(Result::is_ok).collect();
    assert_eq!(is_ok, [true, false, false, true]);
}

#[test]
fn a_line_past_the_limit_is_an_error_and_reading_goes_on() {
    let exact = format!("{{\"text\":\"{}\"}}\n", "x".repeat(1000 - 12));
    assert_eq!(exact.len(), 1000);
    assert!(read(exact.as_bytes())[0].is_ok());
    let mut long = exact.replace('x', "xx").into_bytes();
    long.extend(exact.as_bytes());
    let records = read(&long);
    insta::assert_snapshot!(records[0].as_ref().unwrap_err(), @"read `x.jsonl`, line 1: expected at most 1000 bytes, found more (hint: split the record, or raise `max_record_bytes`)");
    assert!(records[1].is_ok());
    assert_eq!(records.len(), 2);
}

#[test]
fn deep_json_is_refused() {
    let line = format!("{{\"text\":\"a\",\"x\":{}", "[".repeat(900));
    assert!(matches!(
        read(line.as_bytes())[0],
        Err(DataError::Json { .. })
    ));
}

proptest! {
    #[test]
    fn any_bytes_give_records_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn anything_like_json_gives_records_or_errors(
        text in "([\\[\\]{}:,\"\n\\\\]|text|messages|role|content|year|id|[0-9]|null|é){0,60}",
    ) {
        let _ = read(text.as_bytes());
    }

    #[test]
    fn any_text_is_read_back(text in any::<String>(), title in any::<Option<String>>()) {
        let record = TextRecord { title, text, ..TextRecord::default() };
        let line = serde_json::to_string(&record).unwrap();
        let mut reader =
            JsonlReader::new(line.as_bytes(), "x.jsonl", ReadOptions::default());
        prop_assert_eq!(reader.next().unwrap().unwrap(), Record::Text(record));
    }
}
