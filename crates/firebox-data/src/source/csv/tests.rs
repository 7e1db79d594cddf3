//! CSV and TSV: columns, numbers of lines, and what is refused.

use crate::{Block, Blocks, Document, Format, SourceError, SourceOptions};

fn blocks(text: &str, options: SourceOptions) -> Vec<Result<Block, SourceError>> {
    let input = std::io::Cursor::new(text.to_string());
    Blocks::from_reader(input, "x.csv", options)
        .unwrap()
        .collect()
}

fn options(format: Format) -> SourceOptions {
    SourceOptions {
        format: Some(format),
        ..SourceOptions::default()
    }
}

#[track_caller]
fn check(text: &str, format: Format, expected: &[(u64, &str)]) {
    let blocks = blocks(text, options(format));
    let blocks: Vec<_> = blocks.into_iter().map(Result::unwrap).collect();
    let found: Vec<(u64, String)> = blocks
        .iter()
        .flat_map(Block::documents)
        .map(|document| match document {
            Ok(document) => (document.number, document.text.into_owned()),
            Err(broken) => (broken.place.number, broken.to_string()),
        })
        .collect();
    let found: Vec<_> = found
        .iter()
        .map(|(number, text)| (*number, text.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn rows_have_the_numbers_of_their_lines() {
    check(
        "id,text\n1,one\n\n2,\"two\nlines\"\n3,three",
        Format::Csv,
        &[(2, "one"), (4, "two\nlines"), (6, "three")],
    );
    check(
        "text\tid\r\n\"a\tb\"\t1\r\nc\"d\t2\r\n",
        Format::Tsv,
        &[(2, "a\tb"), (3, "c\"d")],
    );
}

#[test]
fn rows_that_do_not_fit_the_header_are_broken() {
    check(
        "text,id\na\nb,2\nc,3,4\n",
        Format::Csv,
        &[
            (
                2,
                "`x.csv`, line 2: expected 2 columns, as in the header, found 1 (hint: rename the fields, or remove the record)",
            ),
            (3, "b"),
            (
                4,
                "`x.csv`, line 4: expected 2 columns, as in the header, found 3 (hint: rename the fields, or remove the record)",
            ),
        ],
    );
}

#[test]
fn all_fields_are_read() {
    let text = "year,mesh_terms,title,text,id,other\n1978.0,Heart; Blood ;,T,x,7,y\n,,,z,,\n";
    let blocks = blocks(text, options(Format::Csv));
    let block = blocks[0].as_ref().unwrap();
    let found: Vec<_> = block.documents().map(Result::unwrap).collect();
    let first = Document {
        number: 2,
        id: Some("7".into()),
        title: Some("T".into()),
        text: "x".into(),
        year: Some(1978),
        mesh_terms: vec!["Heart".into(), "Blood".into()],
        source: None,
    };
    let second = Document {
        number: 3,
        text: "z".into(),
        ..Document::default()
    };
    assert_eq!(found, [first, second]);
}

#[test]
fn a_missing_column_names_those_that_there_are() {
    let error = blocks("id,content\n1,a\n", options(Format::Csv))
        .remove(0)
        .unwrap_err();
    insta::assert_snapshot!(error, @"read `x.csv`: expected a column `text` with the text, found `id`, `content` (hint: name the text's column in the field names)");
}

#[test]
fn a_quote_that_never_closes_costs_its_record_alone() {
    let mut options = options(Format::Csv);
    (options.block_bytes, options.max_record_bytes) = (64, 256);
    let text = format!("text,id\n\"{}\n\",1\nb,2\n", "x\n".repeat(200));
    let found = blocks(&text, options);
    let documents: Vec<_> = found
        .iter()
        .flat_map(|block| block.as_ref().unwrap().documents())
        .collect();
    assert!(
        documents[0]
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("at most 256 bytes")
    );
    assert_eq!(documents[1].as_ref().unwrap().text, "b");
    assert_eq!(documents[1].as_ref().unwrap().number, 204);
    assert_eq!(documents.len(), 2);
}
