//! Citations as documents: labels, descriptors, and errors that stay where they are.

use crate::{AbstractStyle, Block, Blocks, Document, Format, SourceOptions};

const GOLDEN_XML: &str = include_str!("../../../tests/golden/medline.xml");

fn blocks(xml: &str, style: AbstractStyle) -> Vec<Block> {
    let options = SourceOptions {
        format: Some(Format::Medline),
        abstract_style: style,
        ..SourceOptions::default()
    };
    let blocks = Blocks::from_reader(std::io::Cursor::new(xml.to_string()), "x.xml", options);
    blocks.unwrap().map(Result::unwrap).collect()
}

#[test]
fn sections_stand_on_lines_after_their_labels() {
    let blocks = blocks(GOLDEN_XML, AbstractStyle::Labelled);
    let found: Vec<Document<'_>> = blocks
        .iter()
        .flat_map(Block::documents)
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        found[0].text,
        "AIM: To see if a > b é 中.\nMETHODS: Line one\n  line two\ttab bold both tail.\n1 < 2 & 3 end joined."
    );
    assert_eq!(found[0].id.as_deref(), Some("101"));
    assert_eq!((found[0].number, found[1].number), (1, 3));
    assert_eq!(found.len(), 2);
}

#[test]
fn descriptors_of_mesh_headings_are_read_in_order() {
    let heading = |name: &str| {
        format!(
            "<MeshHeading><DescriptorName UI=\"D1\">{name}</DescriptorName><QualifierName>blood</QualifierName></MeshHeading>"
        )
    };
    let xml = format!(
        "<PubmedArticleSet><PubmedArticle><Abstract><AbstractText Label=\"A &amp; B\">x</AbstractText></Abstract>\
         <MeshHeadingList>{}{}</MeshHeadingList></PubmedArticle></PubmedArticleSet>",
        heading("Heart &amp; Lungs"),
        heading("Rats")
    );
    let blocks = blocks(&xml, AbstractStyle::Labelled);
    let document = blocks[0].documents().next().unwrap().unwrap();
    assert_eq!(document.mesh_terms, ["Heart & Lungs", "Rats"]);
    assert_eq!(document.text, "A & B: x");
}

#[test]
fn a_broken_citation_does_not_reach_the_next() {
    let good = |n: usize| {
        format!(
            "<PubmedArticle><PMID>{n}</PMID><Abstract><AbstractText>x</AbstractText></Abstract></PubmedArticle>\n"
        )
    };
    for bad in [
        "<PubmedArticle><PMID>2</Oops></PubmedArticle>",
        "<PubmedArticle>&eacute;</PubmedArticle>",
        "<PubmedArticle><PubmedArticle></PubmedArticle>",
        "<PubmedArticle><!-- </PubmedArticle>",
        "<PubmedArticle><a b=\"></PubmedArticle>",
    ] {
        let xml = format!(
            "<PubmedArticleSet>{}{bad}{}</PubmedArticleSet>",
            good(1),
            good(3)
        );
        let blocks = blocks(&xml, AbstractStyle::Joined);
        let found: Vec<_> = blocks
            .iter()
            .flat_map(Block::documents)
            .map(|document| match document {
                Ok(document) => (document.number, document.id.map(|id| id.into_owned())),
                Err(broken) => (broken.place.number, None),
            })
            .collect();
        assert_eq!(
            found,
            [(1, Some("1".into())), (2, None), (3, Some("3".into()))],
            "{bad}"
        );
    }
}

#[test]
fn a_file_that_is_cut_off_says_so_after_its_whole_citations() {
    let cut = &GOLDEN_XML[..GOLDEN_XML.rfind("</PubmedArticleSet>").unwrap()];
    let blocks = blocks(cut, AbstractStyle::Joined);
    let last = blocks.iter().flat_map(Block::documents).last().unwrap();
    assert!(
        last.unwrap_err()
            .to_string()
            .contains("the end of the file with")
    );
}

#[test]
fn other_xml_is_refused_by_its_root() {
    let blocks = blocks("<html><body/></html>", AbstractStyle::Joined);
    let found: Vec<_> = blocks[0].documents().collect();
    insta::assert_snapshot!(found[0].as_ref().unwrap_err(), @"`x.xml`, record 1: byte 6: expected the root element <PubmedArticleSet>, found <html> (hint: only MEDLINE citations are read, as PubMed distributes them)");
    assert_eq!(found.len(), 1);
}
