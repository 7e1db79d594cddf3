//! Files, directories and globs become records.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{DataError, Message, ReadOptions, Record, list_files, read_records, read_records_with};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// The texts of all records; conversations as their first words.
fn texts(path: &Path) -> Vec<String> {
    let text_of = |record| match record {
        Record::Text(record) => record.text,
        Record::Chat(messages) => messages[0].content.clone(),
    };
    read_records(path)
        .unwrap()
        .map(|record| text_of(record.unwrap()))
        .collect()
}

#[test]
fn a_directory_is_read_in_order_and_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "a.jsonl", b"{\"text\": \"one\"}\n");
    write(
        folder,
        "b/x.jsonl.gz",
        &gzip(b"{\"messages\": [{\"role\": \"user\", \"content\": \"two\"}]}"),
    );
    write(
        folder,
        "c.xml",
        include_bytes!("../../tests/golden/medline.xml"),
    );
    write(folder, "d.txt", "\u{feff}three\nlines\n".as_bytes());
    write(folder, "e.md.gz", &gzip("四".as_bytes()));
    write(folder, ".hidden.txt", b"no");
    write(folder, "image.png", b"no");
    let found = texts(folder);
    assert_eq!(found.len(), 6);
    assert_eq!((&*found[0], &*found[1]), ("one", "two"));
    assert_eq!((&*found[4], &*found[5]), ("three\nlines\n", "四"));

    let mut records = read_records(folder).unwrap();
    assert_eq!(records.by_ref().count(), 6);
    assert_eq!(records.n_skipped(), 1);
}

#[test]
fn a_glob_means_the_files_that_match() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("2.txt", "two"), ("1.txt", "one"), ("x.md", "no")] {
        write(folder.path(), name, text.as_bytes());
    }
    assert_eq!(texts(&folder.path().join("*.txt")), ["one", "two"]);
    let nothing = list_files(folder.path().join("*.jsonl")).unwrap_err();
    assert!(matches!(nothing, DataError::NoFiles { .. }));
    let broken = list_files(folder.path().join("a**b[")).unwrap_err();
    assert!(matches!(broken, DataError::BadGlob { .. }));
}

#[test]
fn compressed_files_of_several_members_are_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = gzip(b"{\"text\": \"one\"}\n");
    bytes.extend(gzip(b"{\"text\": \"two\"}\n"));
    write(folder.path(), "x.jsonl.gz", &bytes);
    assert_eq!(texts(&folder.path().join("x.jsonl.gz")), ["one", "two"]);
}

#[test]
fn tables_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let zstd = zstd::bulk::compress(b"id,text\n1,one\n2,two\n", 1).unwrap();
    write(folder.path(), "x.csv.zst", &zstd);
    write(folder.path(), "y.tsv", b"id\ttext\n3\tthree\n");
    write(folder.path(), "z.csv", b"id,content\n3,three\n");
    let found: Vec<_> = read_records(folder.path()).unwrap().collect();
    let ids = found.iter().map(|record| match record {
        Ok(Record::Text(text)) => text.id.clone(),
        _ => None,
    });
    let expected = [Some("1"), Some("2"), Some("3"), None].map(|id| id.map(str::to_string));
    assert_eq!(ids.collect::<Vec<_>>(), expected);
    let error = found[3].as_ref().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("expected a column `text`, found `id`, `content`"),
        "{error}"
    );
}

#[test]
fn names_that_say_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "corpus.docx", b"PK");
    let error = read_records(folder.path().join("corpus.docx"))
        .err()
        .unwrap();
    assert!(
        matches!(error, DataError::UnknownExtension { .. }),
        "{error}"
    );
    let error = read_records(folder.path().join("missing.jsonl"))
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .ends_with("found none (hint: check the path)"),
        "{error}"
    );
}

#[test]
fn a_truncated_gzip_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let long: String = (0..5000)
        .map(|i| format!("{{\"text\": \"number {i}\"}}\n"))
        .collect();
    let bytes = gzip(long.as_bytes());
    write(folder.path(), "cut.jsonl.gz", &bytes[..bytes.len() / 2]);
    write(folder.path(), "cut.txt.gz", &bytes[..bytes.len() / 2]);
    write(folder.path(), "not.xml.gz", b"<PubmedArticleSet/>");
    for name in ["cut.jsonl.gz", "cut.txt.gz", "not.xml.gz"] {
        let last = read_records(folder.path().join(name))
            .unwrap()
            .last()
            .unwrap();
        assert!(
            matches!(last, Err(DataError::Read { .. })),
            "{name}: {last:?}"
        );
    }
}

#[test]
fn a_compressed_bomb_stops_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = gzip(&vec![b' '; 20 << 20]);
    assert!(bomb.len() < 1 << 20);
    let options = ReadOptions {
        max_record_bytes: 1 << 20,
    };
    for name in ["bomb.jsonl.gz", "bomb.txt.gz", "bomb.xml.gz"] {
        write(folder.path(), name, &bomb);
        let records = read_records_with(folder.path().join(name), options).unwrap();
        let found: Vec<_> = records.collect();
        let is_refused = matches!(
            found.as_slice(),
            [Err(DataError::RecordTooLarge {
                limit_bytes: 0x10_0000,
                ..
            })]
        );
        assert!(is_refused, "{name}: {found:?}");
    }
}

#[test]
fn one_bad_file_does_not_hide_the_next() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.xml", b"<PubmedArticleSet><PubmedArticle>");
    write(folder.path(), "b.txt", b"\xff\xfe");
    write(
        folder.path(),
        "c.jsonl",
        b"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}",
    );
    let found: Vec<_> = read_records(folder.path()).unwrap().collect();
    assert!(matches!(found[0], Err(DataError::XmlContent { .. })));
    assert!(matches!(
        found[1],
        Err(DataError::NotUtf8 { valid_bytes: 0, .. })
    ));
    assert_eq!(
        *found[2].as_ref().unwrap(),
        Record::Chat(vec![Message::user("x")])
    );
    assert_eq!(found.len(), 3);
}
