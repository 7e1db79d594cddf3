//! A block: some whole records of one file, not parsed yet.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::buffer::Buffer;
use super::csv::{CsvColumns, CsvDocuments};
use super::jsonl::{JsonlDocuments, Lines};
use super::medline::{CitationDocuments, MedlinePiece};
#[cfg(feature = "parquet")]
use super::parquet::{BatchDocuments, TextBatch};
use super::{BrokenReason, BrokenRecord, SourceOptions};
use crate::{Document, Place, PlaceUnit};

/// Some whole records of one file, read but not parsed: [`documents`](Self::documents) parses them,
/// on whatever thread the block was taken to.
#[derive(Debug)]
pub struct Block {
    pub(super) index: u64,
    pub(crate) file: Arc<BlockFile>,
    pub(super) first_number: u64,
    pub(super) body: Body,
}

/// What the blocks of one file share.
#[derive(Debug)]
pub(crate) struct BlockFile {
    /// What messages call it.
    pub(crate) path: PathBuf,
    pub(crate) options: SourceOptions,
}

#[derive(Debug)]
pub(super) enum Body {
    Jsonl(Buffer),
    Csv(Buffer, Arc<CsvColumns>),
    Medline(Buffer, MedlinePiece),
    Text(Buffer),
    #[cfg(feature = "parquet")]
    Batch(Box<TextBatch>),
    /// One record that was too large to be held.
    TooLarge(PlaceUnit),
}

impl Block {
    /// Its number among the blocks of all files, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The file that it is from; `-` is standard input.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The line (JSONL, CSV) or record of its file that it starts with, from 1.
    #[must_use]
    pub fn first_number(&self) -> u64 {
        self.first_number
    }

    /// Its size, after decompression.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        match &self.body {
            Body::Jsonl(bytes)
            | Body::Csv(bytes, _)
            | Body::Medline(bytes, _)
            | Body::Text(bytes) => bytes.len(),
            #[cfg(feature = "parquet")]
            Body::Batch(batch) => batch.n_bytes(),
            Body::TooLarge(_) => 0,
        }
    }

    /// Its lines, if they are JSON.
    pub(crate) fn lines(&self) -> Option<Lines<'_>> {
        match &self.body {
            Body::Jsonl(bytes) => Some(Lines::new(bytes, self.first_number, &self.file)),
            _ => None,
        }
    }

    /// Its documents in order, parsed as they are asked for; broken records in their places.
    #[must_use]
    pub fn documents(&self) -> Documents<'_> {
        let (file, number) = (&*self.file, self.first_number);
        let records = match &self.body {
            Body::Jsonl(bytes) => Records::Jsonl(JsonlDocuments::new(bytes, number, file)),
            Body::Csv(bytes, columns) => {
                Records::Csv(Box::new(CsvDocuments::new(bytes, number, columns, file)))
            }
            Body::Medline(bytes, piece) => {
                Records::Medline(CitationDocuments::new(bytes, number, *piece, file))
            }
            Body::Text(bytes) => Records::One(Some(file.text_document(bytes))),
            #[cfg(feature = "parquet")]
            Body::Batch(batch) => Records::Batch(BatchDocuments::new(batch, number, file)),
            Body::TooLarge(unit) => Records::One(Some(Err(file.too_large(*unit, number)))),
        };
        Documents { records }
    }
}

/// The documents of a [`Block`].
pub struct Documents<'a> {
    records: Records<'a>,
}

enum Records<'a> {
    Jsonl(JsonlDocuments<'a>),
    Csv(Box<CsvDocuments<'a>>),
    Medline(CitationDocuments<'a>),
    #[cfg(feature = "parquet")]
    Batch(BatchDocuments<'a>),
    One(Option<Result<Document<'a>, BrokenRecord>>),
}

impl Documents<'_> {
    /// How many records so far were whole but had nothing to read: MEDLINE citations without abstract.
    #[must_use]
    pub fn n_skipped(&self) -> u64 {
        match &self.records {
            Records::Medline(citations) => citations.n_skipped(),
            _ => 0,
        }
    }
}

impl<'a> Iterator for Documents<'a> {
    type Item = Result<Document<'a>, BrokenRecord>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.records {
            Records::Jsonl(lines) => lines.next(),
            Records::Csv(rows) => rows.next(),
            Records::Medline(citations) => citations.next(),
            #[cfg(feature = "parquet")]
            Records::Batch(rows) => rows.next(),
            Records::One(record) => record.take(),
        }
    }
}

impl BlockFile {
    pub(crate) fn broken(
        &self,
        unit: PlaceUnit,
        number: u64,
        reason: BrokenReason,
    ) -> BrokenRecord {
        let place = Place {
            path: self.path.clone(),
            unit,
            number,
        };
        BrokenRecord { place, reason }
    }

    pub(crate) fn too_large(&self, unit: PlaceUnit, number: u64) -> BrokenRecord {
        let limit_bytes = self.options.max_record_bytes;
        self.broken(unit, number, BrokenReason::TooLarge { limit_bytes })
    }

    /// Whether a record of that many bytes is too large.
    pub(crate) fn is_too_large(&self, n_bytes: usize) -> bool {
        n_bytes as u64 > self.options.max_record_bytes
    }

    /// A plain-text file is one document, named after the file.
    fn text_document<'a>(&'a self, bytes: &'a [u8]) -> Result<Document<'a>, BrokenRecord> {
        if self.is_too_large(bytes.len()) {
            return Err(self.too_large(PlaceUnit::Record, 1));
        }
        let text = str::from_utf8(bytes)
            .map_err(|error| self.broken(PlaceUnit::Record, 1, not_utf8(error)))?;
        Ok(Document {
            number: 1,
            id: self.path.file_name().map(|name| name.to_string_lossy()),
            text: Cow::Borrowed(text),
            ..Document::default()
        })
    }
}

pub(crate) fn not_utf8(error: std::str::Utf8Error) -> BrokenReason {
    BrokenReason::NotUtf8 {
        valid_bytes: error.valid_up_to(),
    }
}
