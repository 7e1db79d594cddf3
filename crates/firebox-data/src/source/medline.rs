//! MEDLINE XML: the citations that PubMed distributes.
//!
//! Source: <https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html>.

mod citation;
mod fields;

use super::block::{BlockFile, not_utf8};
use super::boundary::citation_ends;
use super::{BrokenReason, BrokenRecord};
use crate::{Document, PlaceUnit};

pub(crate) use citation::Fragment;
use citation::parse_fragment;

/// Where in its file a block of citations is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MedlinePiece {
    /// Position of its first byte in the decompressed file.
    pub(crate) offset: u64,
    /// Whether the file starts with it.
    pub(crate) is_first: bool,
    /// Whether the file ends with it.
    pub(crate) is_last: bool,
    /// Whether the file has a `<PubmedArticleSet>` around its citations.
    pub(crate) has_set: bool,
}

/// The documents of a block of citations: those that have an abstract.
///
/// A block is cut into fragments, each up to the end of one citation, and each is parsed for
/// itself: what is wrong in one does not reach the next. Books and lists of deleted citations lie
/// between them and are passed over. The document type is not fetched, and entities that it would
/// define are refused, so no file makes the reader open or expand anything.
pub(crate) struct CitationDocuments<'a> {
    bytes: &'a [u8],
    /// Start of the next fragment.
    at: usize,
    is_done: bool,
    number: u64,
    n_skipped: u64,
    piece: MedlinePiece,
    file: &'a BlockFile,
}

impl<'a> CitationDocuments<'a> {
    pub(crate) fn new(
        bytes: &'a [u8],
        number: u64,
        piece: MedlinePiece,
        file: &'a BlockFile,
    ) -> Self {
        Self {
            bytes,
            at: 0,
            is_done: false,
            number,
            n_skipped: 0,
            piece,
            file,
        }
    }

    /// How many citations so far had no abstract.
    pub(crate) fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    /// The next fragment; the last of a file is what follows its last citation.
    fn next_fragment(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        if let Some(end) = citation_ends(self.bytes, start).next() {
            self.at = end;
            return Some((start, end));
        }
        self.is_done = true;
        self.at = self.bytes.len();
        self.piece.is_last.then_some((start, self.at))
    }

    fn parse(&self, start: usize, end: usize) -> Result<Option<Document<'a>>, BrokenReason> {
        if self.file.is_too_large(end - start) {
            let limit_bytes = self.file.options.max_record_bytes;
            return Err(BrokenReason::TooLarge { limit_bytes });
        }
        let fragment = Fragment {
            text: str::from_utf8(&self.bytes[start..end]).map_err(not_utf8)?,
            offset: self.piece.offset + start as u64,
            is_in_set: self.piece.has_set && !(self.piece.is_first && start == 0),
            is_last: self.is_done,
            style: self.file.options.abstract_style,
        };
        parse_fragment(&fragment)
    }
}

impl<'a> Iterator for CitationDocuments<'a> {
    type Item = Result<Document<'a>, BrokenRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            let (start, end) = self.next_fragment()?;
            let number = self.number;
            match self.parse(start, end) {
                Ok(document) => {
                    self.number += u64::from(!self.is_done);
                    match document {
                        Some(document) => return Some(Ok(Document { number, ..document })),
                        None => self.n_skipped += u64::from(!self.is_done),
                    }
                }
                Err(reason) => {
                    self.number += 1;
                    return Some(Err(self.file.broken(PlaceUnit::Record, number, reason)));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
