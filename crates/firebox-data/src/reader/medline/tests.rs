//! MEDLINE XML: the records that Python's ElementTree gives, and no trouble from bad files.

use std::fmt::Write;

use proptest::prelude::*;
use serde::Deserialize;

use super::MedlineReader;
use crate::{DataError, ReadOptions, TextRecord};

const GOLDEN_XML: &str = include_str!("../../../tests/golden/medline.xml");

#[derive(Deserialize)]
struct Golden {
    records: Vec<GoldenRecord>,
}

#[derive(Deserialize)]
struct GoldenRecord {
    id: Option<String>,
    title: Option<String>,
    text: String,
    year: Option<String>,
}

fn read(xml: &[u8]) -> Vec<Result<TextRecord, DataError>> {
    MedlineReader::new(
        xml,
        "x.xml",
        ReadOptions {
            max_record_bytes: 10_000,
        },
    )
    .collect()
}

fn article(inside: &str) -> String {
    format!("<PubmedArticle><MedlineCitation>{inside}</MedlineCitation></PubmedArticle>")
}

fn abstract_of(text: &str) -> String {
    article(&format!(
        "<Abstract><AbstractText>{text}</AbstractText></Abstract>"
    ))
}

fn set_of(articles: &str) -> String {
    format!("<PubmedArticleSet>{articles}</PubmedArticleSet>")
}

/// The message of the last error, with its cause.
#[track_caller]
fn error_of(xml: &str) -> String {
    let error = read(xml.as_bytes()).pop().unwrap().unwrap_err();
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn records_equal_those_of_element_tree() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../../tests/golden/medline.json")).unwrap();
    let mut reader = MedlineReader::new(GOLDEN_XML.as_bytes(), "x.xml", ReadOptions::default());
    let found: Vec<TextRecord> = reader.by_ref().map(Result::unwrap).collect();
    let expected: Vec<TextRecord> = golden
        .records
        .into_iter()
        .map(|record| TextRecord {
            id: record.id,
            title: record.title,
            text: record.text,
            year: record.year.map(|year| year.parse().unwrap()),
            mesh_terms: Vec::new(),
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(reader.n_skipped(), 1);
    assert_eq!(
        found[0].training_text().split_once('\n').unwrap().0,
        "Effects of CO2 on E. coli: a <test> & more."
    );
}

#[test]
fn line_ends_are_normalized_as_xml_asks() {
    let with_returns = GOLDEN_XML.replace('\n', "\r\n");
    let records = |xml: &str| read(xml.as_bytes()).into_iter().map(Result::unwrap);
    assert!(records(&with_returns).eq(records(GOLDEN_XML)));
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for end in (0..GOLDEN_XML.trim_end().len()).filter(|&end| GOLDEN_XML.is_char_boundary(end)) {
        let last = read(&GOLDEN_XML.as_bytes()[..end]).pop();
        assert!(matches!(last, Some(Err(_))), "cut at byte {end}: {last:?}");
    }
}

#[test]
fn errors_name_the_record_and_what_was_expected() {
    let first = abstract_of("a");
    insta::assert_snapshot!(error_of("<article><title/></article>"), @"parse `x.xml`, record 1, byte 9: expected the root element <PubmedArticleSet>, found <article> (hint: only MEDLINE citations are read, as PubMed distributes them)");
    insta::assert_snapshot!(error_of(&set_of(&(first.clone() + "<PubmedArticle></Oops>"))), @"parse `x.xml`, record 2, byte 157 (hint: is the file whole? fetch it again): ill-formed document: expected `</PubmedArticle>`, but `</Oops>` was found");
    insta::assert_snapshot!(error_of(&format!("<PubmedArticleSet>{first}")), @"parse `x.xml`, record 2, byte 135: expected a closed <PubmedArticleSet>, found the end of the file with 1 elements open (hint: the file is cut off; fetch it again)");
    insta::assert_snapshot!(error_of("<?xml version='1.0' encoding='GB2312'?><PubmedArticleSet/>"), @"parse `x.xml`, record 1, byte 39: expected the encoding utf-8, found `GB2312` (hint: convert the file, for instance with `iconv -t UTF-8`)");
    insta::assert_snapshot!(error_of(&set_of(&abstract_of("&eacute;"))), @"parse `x.xml`, record 1, byte 82: expected one of the five entities of XML, or a character number, found &eacute; (hint: replace the entity by its text; document types are not read)");
}

#[test]
fn entity_bombs_and_external_entities_are_not_expanded() {
    let mut bomb = String::from("<!DOCTYPE PubmedArticleSet [<!ENTITY a \"ha\">");
    for (name, inner) in [('b', 'a'), ('c', 'b'), ('d', 'c')] {
        write!(
            bomb,
            "<!ENTITY {name} \"{}\">",
            format!("&{inner};").repeat(100)
        )
        .unwrap();
    }
    bomb.push_str("<!ENTITY file SYSTEM \"file:///etc/hosts\">]>");
    for entity in ["&d;", "&file;"] {
        let records = read((bomb.clone() + &set_of(&abstract_of(entity))).as_bytes());
        assert!(
            matches!(records.as_slice(), [Err(DataError::XmlContent { .. })]),
            "{records:?}"
        );
    }
}

#[test]
fn a_record_past_the_limit_ends_the_reading() {
    let small = abstract_of(&"x".repeat(5_000));
    let records = read(set_of(&small.repeat(20)).as_bytes());
    assert_eq!(records.len(), 20);
    assert!(records.iter().all(Result::is_ok));

    for large in [
        abstract_of(&"x".repeat(20_000)),
        "<a>".repeat(20_000),
        "x".repeat(20_000),
    ] {
        let records = read(set_of(&(small.clone() + &large + &small)).as_bytes());
        assert!(
            matches!(
                records.as_slice(),
                [Ok(_), Err(DataError::RecordTooLarge { .. })]
            ),
            "{records:?}"
        );
    }
}

#[test]
fn one_article_alone_is_read_too() {
    assert_eq!(
        read(abstract_of("alone").as_bytes())[0]
            .as_ref()
            .unwrap()
            .text,
        "alone"
    );
}

#[test]
fn invalid_bytes_are_an_error() {
    let mut xml = set_of(&abstract_of("abc")).into_bytes();
    let at = xml.iter().position(|&byte| byte == b'b').unwrap();
    xml[at] = 0xff;
    assert!(matches!(read(&xml).pop(), Some(Err(_))));
}

proptest! {
    #[test]
    fn any_bytes_give_records_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn anything_like_medline_gives_records_or_errors(
        text in "(<|>|/|&|;|#|x|\"|'|!|\\?|\\[|\\]|-|=| |<!--|-->|<!\\[CDATA\\[|\\]\\]>|&#x41;|&amp;\
                 |<(/?)(PubmedArticleSet|PubmedArticle|Abstract|AbstractText|PMID|PubDate|Year)>){0,40}",
    ) {
        let _ = read(text.as_bytes());
        let _ = read(set_of(&article(&text)).as_bytes());
    }

    #[test]
    fn a_changed_byte_gives_records_or_errors(at in 0..GOLDEN_XML.len(), byte: u8) {
        let mut bytes = GOLDEN_XML.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = read(&bytes);
    }

    #[test]
    fn any_text_is_read_back(text in "[\\PC\n\t]{0,60}") {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let records = read(set_of(&abstract_of(&escaped)).as_bytes());
        prop_assert_eq!(&records[0].as_ref().unwrap().text, &text);
    }
}
