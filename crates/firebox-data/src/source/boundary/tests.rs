//! Ends of records: the same in pieces as in one, and where the `csv` crate has them.

use proptest::prelude::*;

use super::{Boundary, Ends, citation_ends, opens_set};

/// All ends, found by giving the bytes in pieces of the given sizes.
fn ends_in_pieces(mut boundary: Boundary, bytes: &[u8], sizes: &[usize]) -> Vec<usize> {
    let mut sizes = sizes.iter().copied().cycle();
    let (mut start, mut scanned, mut found) = (0, 0, Vec::new());
    while scanned < bytes.len() {
        let end = (scanned + sizes.next().unwrap_or(1)).min(bytes.len());
        // What is before `start` was given away, as the cutter does.
        if let Some(last) = boundary.scan(&bytes[start..end], scanned - start).last {
            start += last;
            found.push(start);
        }
        scanned = end;
    }
    found
}

fn csv_rows(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let rows = reader.byte_records().map(|row| row.unwrap());
    rows.map(|row| row.iter().map(<[u8]>::to_vec).collect())
        .collect()
}

proptest! {
    #[test]
    fn csv_cut_at_its_ends_has_the_rows_of_the_whole(text in "[\",\n\ra é]{0,80}") {
        let ends = ends_in_pieces(Boundary::csv(b','), text.as_bytes(), &[1]);
        let mut starts = vec![0];
        starts.extend(&ends);
        let pieces = starts.iter().zip(ends.iter().copied().chain([text.len()]));
        let rows: Vec<_> = pieces
            .flat_map(|(&start, end)| csv_rows(&text.as_bytes()[start..end]))
            .collect();
        prop_assert_eq!(rows, csv_rows(text.as_bytes()));
    }

    #[test]
    fn the_last_end_is_the_same_however_the_bytes_come(
        text in "([\",\n\r a]|</PubmedArticle( |\n)?>|</PubmedArticleSet>|x){0,60}",
        sizes in prop::collection::vec(1..20_usize, 1..8),
    ) {
        let bytes = text.as_bytes();
        let boundaries: [fn() -> Boundary; 4] = [
            || Boundary::Line,
            || Boundary::csv(b','),
            || Boundary::Citation,
            || Boundary::File,
        ];
        for boundary in boundaries {
            let in_pieces = ends_in_pieces(boundary(), bytes, &sizes).last().copied();
            prop_assert_eq!(in_pieces, boundary().scan(bytes, 0).last);
        }
    }
}

#[test]
fn a_quote_opens_a_field_only_at_its_start() {
    let ends = |text: &str| ends_in_pieces(Boundary::csv(b','), text.as_bytes(), &[1]).len();
    assert_eq!(ends("5\" disk,1\n6\" disk,2\n"), 2);
    assert_eq!(ends("\"a\nb\",1\n\"\"\"\n\"\"\",2\n"), 2);
    assert_eq!(ends("a,\"b\nc\"x\"\nd\n"), 2);
}

#[test]
fn a_citation_ends_at_its_tag_and_not_at_that_of_the_set() {
    let text = b"<PubmedArticle></PubmedArticle >\n</PubmedArticleSet></PubmedArticle";
    assert_eq!(citation_ends(text, 0).collect::<Vec<_>>(), [32]);
    let expected = Ends {
        first: Some(32),
        last: Some(32),
    };
    assert_eq!(Boundary::Citation.scan(text, 0), expected);
}

#[test]
fn a_set_is_known_by_what_comes_first() {
    assert!(opens_set(
        b"<!DOCTYPE PubmedArticleSet><PubmedArticleSet><PubmedArticle>"
    ));
    assert!(!opens_set(
        b"<PubmedArticle></PubmedArticle><PubmedArticleSet>"
    ));
}
