//! Files in every format and compression give the same documents, however they are cut and parsed.

use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rayon::prelude::*;

use super::{BrokenCount, BrokenLimit, Format, SourceError, SourceOptions, Sources};
use crate::{Block, Blocks};

const GOLDEN_XML: &str = include_str!("../../tests/golden/medline.xml");

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

fn options(format: Format, block_bytes: usize) -> SourceOptions {
    SourceOptions {
        format: Some(format),
        block_bytes,
        ..SourceOptions::default()
    }
}

fn from_bytes(bytes: &[u8], options: SourceOptions) -> Vec<Block> {
    let input = std::io::Cursor::new(bytes.to_vec());
    let blocks = Blocks::from_reader(input, "x", options).unwrap();
    blocks.map(Result::unwrap).collect()
}

/// Everything that is read, in words.
fn shown(blocks: &[Block]) -> Vec<String> {
    blocks.iter().flat_map(shown_block).collect()
}

fn shown_block(block: &Block) -> Vec<String> {
    let documents = block.documents();
    documents
        .map(|document| match document {
            Ok(document) => format!("{document:?}"),
            Err(broken) => broken.to_string(),
        })
        .collect()
}

/// Lines of JSON, some of them broken.
fn jsonl() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "[a-zé\"\\\\\n]{0,30}".prop_map(|text| serde_json::json!({"text": text, "id": text.len()}).to_string()),
        1 => "[ {}\"a]{0,10}",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

/// A table, quoted by the `csv` crate.
fn csv() -> impl Strategy<Value = String> {
    prop::collection::vec(("[a,\"\n\r é]{0,12}", "[a-z]{0,4}"), 0..12).prop_map(|rows| {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["text", "id"]).unwrap();
        for (text, id) in rows {
            writer.write_record([text, id]).unwrap();
        }
        String::from_utf8(writer.into_inner().unwrap()).unwrap()
    })
}

/// A set of citations, some of them broken.
fn medline() -> impl Strategy<Value = String> {
    let citation = "(<PMID>[0-9]{1,3}</PMID>){0,1}(<Abstract><AbstractText( Label=\"A\"){0,1}>(a|&amp;|<i>b</i>|é|&x;){0,6}</AbstractText></Abstract>){0,1}";
    prop::collection::vec(citation, 0..8).prop_map(|citations| {
        let citations: String = citations
            .iter()
            .map(|inside| format!("<PubmedArticle>{inside}</PubmedArticle>\n"))
            .collect();
        format!("<?xml version=\"1.0\"?><PubmedArticleSet>{citations}<DeleteCitation/></PubmedArticleSet>\n")
    })
}

proptest! {
    #[test]
    fn any_cutting_into_blocks_gives_the_same_documents(
        jsonl in jsonl(),
        csv in csv(),
        medline in medline(),
        block_bytes in 1..200_usize,
    ) {
        for (format, text) in [(Format::Jsonl, jsonl), (Format::Csv, csv), (Format::Medline, medline)] {
            let whole = from_bytes(text.as_bytes(), options(format, 1 << 20));
            let cut = from_bytes(text.as_bytes(), options(format, block_bytes));
            prop_assert_eq!(shown(&cut), shown(&whole), "{:?}: {:?}", format, text);
            let indices: Vec<u64> = cut.iter().map(Block::index).collect();
            prop_assert_eq!(indices, (0..cut.len() as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn compressed_streams_are_read_as_plain_ones(text in jsonl()) {
        let bytes = text.as_bytes();
        let expected = shown(&from_bytes(bytes, options(Format::Jsonl, 50)));
        let two_members = [gzip(&bytes[..bytes.len() / 2]), gzip(&bytes[bytes.len() / 2..])].concat();
        let two_frames = [zstd(&bytes[..bytes.len() / 2]), zstd(&bytes[bytes.len() / 2..])].concat();
        for compressed in [gzip(bytes), zstd(bytes), two_members, two_frames] {
            prop_assert_eq!(&shown(&from_bytes(&compressed, options(Format::Jsonl, 50))), &expected);
        }
    }

    #[test]
    fn blocks_parsed_on_many_threads_give_what_one_thread_gives(text in jsonl()) {
        let blocks = from_bytes(text.as_bytes(), options(Format::Jsonl, 30));
        let parallel: Vec<Vec<String>> = blocks.par_iter().map(shown_block).collect();
        prop_assert_eq!(parallel.concat(), shown(&blocks));
    }

    #[test]
    fn any_bytes_are_documents_or_broken_records(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        block_bytes in 1..100_usize,
    ) {
        for format in [Format::Jsonl, Format::Csv, Format::Tsv, Format::Medline, Format::Text] {
            let input = std::io::Cursor::new(bytes.clone());
            let Ok(blocks) = Blocks::from_reader(input, "x", options(format, block_bytes)) else { continue };
            for block in blocks.flatten() {
                let n_at_most = block.n_bytes() + 1;
                prop_assert!(block.documents().count() <= n_at_most);
            }
        }
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn files_are_read_in_order_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "a.ndjson.zst", &zstd(b"{\"text\": \"one\"}\n"));
    write(folder, "b/x.csv.gz", &gzip(b"text\ntwo\n"));
    write(folder, "c.tsv", b"id\ttext\n1\tthree\n");
    write(folder, "d.xml", GOLDEN_XML.as_bytes());
    write(folder, "e.txt", b"six");
    write(folder, "f.png", b"no");
    let sources = Sources::list([folder], SourceOptions::default()).unwrap();
    assert_eq!(sources.files().len(), 5);
    let mut blocks = sources.blocks();
    let found: Vec<Block> = blocks.by_ref().map(Result::unwrap).collect();
    let texts: Vec<String> = found
        .iter()
        .flat_map(Block::documents)
        .map(|document| document.unwrap().text.chars().take(5).collect())
        .collect();
    assert_eq!(texts, ["one", "two", "three", "AIM: ", "  The", "six"]);
    assert_eq!(Some(blocks.n_bytes_read()), sources.total_bytes());
}

#[test]
fn a_format_may_be_forced_on_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "data.gz", &gzip(b"text\none\n"));
    let error = Sources::list([&path], SourceOptions::default()).unwrap_err();
    assert!(
        matches!(error, SourceError::UnknownExtension { .. }),
        "{error}"
    );
    let sources = Sources::list([folder.path()], options(Format::Csv, 100)).unwrap();
    let block = sources.blocks().next().unwrap().unwrap();
    assert_eq!(block.documents().next().unwrap().unwrap().text, "one");
}

#[test]
fn a_truncated_file_gives_its_whole_records_and_then_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..5000)
        .map(|i| format!("{{\"text\": \"number {i}\"}}\n"))
        .collect();
    for (name, bytes) in [
        ("x.jsonl.gz", gzip(lines.as_bytes())),
        ("x.jsonl.zst", zstd(lines.as_bytes())),
    ] {
        let path = write(folder.path(), name, &bytes[..bytes.len() - 9]);
        let next = write(folder.path(), "y.jsonl", b"{\"text\": \"next\"}");
        let sources = Sources::list([path, next], SourceOptions::default()).unwrap();
        let found: Vec<_> = sources.blocks().collect();
        let is_error: Vec<bool> = found.iter().map(Result::is_err).collect();
        let n_whole = found
            .iter()
            .flatten()
            .flat_map(Block::documents)
            .filter(Result::is_ok)
            .count();
        assert!(
            is_error == [false, true, false] || is_error == [true, false],
            "{name}: {is_error:?}"
        );
        assert!(n_whole > 1 || name.ends_with("zst"), "{name}: {n_whole}");
        let error = found.iter().find_map(|block| block.as_ref().err()).unwrap();
        assert!(matches!(error, SourceError::Read { .. }), "{error}");
    }
}

#[test]
fn more_than_one_percent_of_broken_lines_stops_with_a_count() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..2000)
        .map(|i| {
            if i % 50 == 7 {
                "oops\n".to_string()
            } else {
                format!("{{\"text\": \"{i}\"}}\n")
            }
        })
        .collect();
    let path = write(folder.path(), "x.jsonl", lines.as_bytes());
    let sources = Sources::list([path], options(Format::Jsonl, 1000)).unwrap();
    let mut count = BrokenCount::new(BrokenLimit::default());
    let error = sources.blocks().find_map(|block| {
        for document in block.unwrap().documents() {
            count.check(document);
        }
        count.check_limit().err()
    });
    let error = error.unwrap().to_string();
    assert!(
        error.contains("at most 1 % of the records broken"),
        "{error}"
    );
    assert!(error.contains("x.jsonl`, line 8"), "{error}");
    assert!(
        (1000..1100).contains(&count.n_records()),
        "{}",
        count.n_records()
    );
}

#[test]
fn entity_bombs_and_external_entities_are_not_expanded() {
    let xml = "<!DOCTYPE PubmedArticleSet [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">\
               <!ENTITY file SYSTEM \"file:///etc/hosts\">]><PubmedArticleSet>\
               <PubmedArticle><Abstract><AbstractText>&b;</AbstractText></Abstract></PubmedArticle>\
               <PubmedArticle><Abstract><AbstractText>&file;</AbstractText></Abstract></PubmedArticle>\
               <PubmedArticle><Abstract><AbstractText>fine</AbstractText></Abstract></PubmedArticle>\
               </PubmedArticleSet>";
    let blocks = from_bytes(xml.as_bytes(), options(Format::Medline, 1000));
    let found: Vec<_> = blocks.iter().flat_map(Block::documents).collect();
    let is_ok: Vec<bool> = found.iter().map(Result::is_ok).collect();
    assert_eq!(is_ok, [false, false, true]);
}

#[test]
fn paths_that_mean_nothing_say_what_was_expected() {
    let error = |path: &str| Sources::list([path], SourceOptions::default()).unwrap_err();
    insta::assert_snapshot!(error("/missing/*.jsonl"), @"find data in `/missing/*.jsonl`: expected a file, `-`, a directory or a glob with at least one .jsonl, .csv, .tsv, .parquet, .xml or .txt file (each but .parquet may end in .gz or .zst), found none (hint: check the path)");
    assert!(matches!(error("a**b["), SourceError::BadGlob { .. }));
    let stdin = Sources::list(["-"], SourceOptions::default()).unwrap();
    assert_eq!((stdin.files().len(), stdin.total_bytes()), (1, None));
}

#[test]
fn parquet_from_a_stream_is_refused() {
    let error = Blocks::from_reader(std::io::empty(), "-", options(Format::Parquet, 1))
        .err()
        .unwrap();
    assert!(matches!(error, SourceError::NotSeekable { .. }), "{error}");
}
