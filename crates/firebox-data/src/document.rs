//! A document on its way through the pipeline.

use std::borrow::Cow;

/// One text record, borrowed from the block that it was read in wherever the file's bytes can be used
/// as they are.
///
/// Rules read [`text`](Self::text) and may replace it; everything else travels along.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document<'a> {
    /// Its line (JSONL, CSV) or record (XML, Parquet, text) in its file, from 1.
    pub number: u64,
    /// The document's name where it comes from; the PMID in MEDLINE.
    pub id: Option<Cow<'a, str>>,
    /// The title, if it is kept apart from the text.
    pub title: Option<Cow<'a, str>>,
    /// The text; the abstract in MEDLINE, each section on a line after its label.
    pub text: Cow<'a, str>,
    /// Year of publication.
    pub year: Option<u16>,
    /// MeSH headings, in MEDLINE.
    pub mesh_terms: Vec<Cow<'a, str>>,
    /// The JSON object that it was read from, byte for byte, in JSONL: what a writer copies, fields that
    /// are not known here included, as long as nothing was changed.
    pub source: Option<&'a str>,
}
