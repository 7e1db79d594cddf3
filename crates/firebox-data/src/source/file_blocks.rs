//! The blocks of one file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::block::{Block, BlockFile, Body};
use super::boundary::opens_set;
use super::buffer::Buffer;
use super::csv::CsvColumns;
use super::cutter::{Cut, Cutter};
use super::input::Input;
use super::medline::MedlinePiece;
#[cfg(feature = "parquet")]
use super::parquet::Batches;
use super::{Format, SourceError, SourceOptions};
use crate::{Place, PlaceUnit};

/// The file being read.
pub(super) struct FileBlocks {
    file: Arc<BlockFile>,
    format: Format,
    reader: FileReader,
    /// What the header says, once it was read.
    columns: Option<Arc<CsvColumns>>,
    /// Whether there is a `<PubmedArticleSet>`, once that is known.
    has_set: Option<bool>,
    is_first: bool,
}

pub(super) enum FileReader {
    Stream(Cutter<Input>),
    #[cfg(feature = "parquet")]
    Parquet(Box<Batches>),
}

impl FileBlocks {
    pub(super) fn new(
        path: &Path,
        format: Format,
        reader: FileReader,
        options: &SourceOptions,
    ) -> Self {
        Self {
            file: Arc::new(BlockFile {
                path: path.to_path_buf(),
                options: options.clone(),
            }),
            format,
            reader,
            columns: None,
            has_set: None,
            is_first: true,
        }
    }

    /// The next block, which gets the number `index`. After an error comes nothing more.
    pub(super) fn next(&mut self, index: u64) -> Option<Result<Block, SourceError>> {
        let cut = match &mut self.reader {
            FileReader::Stream(cutter) => match cutter.next()? {
                Ok(cut) => cut,
                Err(source) => {
                    let number = cutter.number();
                    return Some(Err(self.read_error(number, source)));
                }
            },
            #[cfg(feature = "parquet")]
            FileReader::Parquet(batches) => {
                let batch = batches.next(&self.file.path)?;
                let block =
                    |(number, batch)| self.block(index, number, Body::Batch(Box::new(batch)));
                return Some(batch.map(block));
            }
        };
        Some(self.block_of(index, cut))
    }

    fn block_of(&mut self, index: u64, cut: Cut) -> Result<Block, SourceError> {
        let (mut number, offset, is_last) = (cut.number, cut.offset, cut.is_last);
        let Some(mut bytes) = cut.bytes else {
            self.is_first = false;
            return Ok(self.block(index, number, Body::TooLarge(self.unit())));
        };
        let is_first = std::mem::replace(&mut self.is_first, false);
        let body = match self.format {
            Format::Csv | Format::Tsv => {
                let columns = self.columns(&mut bytes, &mut number)?;
                Body::Csv(bytes, columns)
            }
            Format::Medline => {
                let has_set = *self
                    .has_set
                    .get_or_insert_with(|| !is_first || opens_set(&bytes));
                let piece = MedlinePiece {
                    offset,
                    is_first,
                    is_last,
                    has_set,
                };
                Body::Medline(bytes, piece)
            }
            Format::Text => Body::Text(bytes),
            Format::Jsonl | Format::Parquet => Body::Jsonl(bytes),
        };
        Ok(self.block(index, number, body))
    }

    /// The columns; in a file's first block, the header is read and taken away.
    fn columns(
        &mut self,
        bytes: &mut Buffer,
        number: &mut u64,
    ) -> Result<Arc<CsvColumns>, SourceError> {
        if let Some(columns) = &self.columns {
            return Ok(Arc::clone(columns));
        }
        let delimiter = if self.format == Format::Tsv {
            b'\t'
        } else {
            b','
        };
        let names = &self.file.options.fields;
        let (columns, n_bytes, n_lines) =
            CsvColumns::read(bytes, delimiter, &self.file.path, names)?;
        bytes.drop_front(n_bytes.min(bytes.len()));
        *number += n_lines;
        Ok(Arc::clone(self.columns.insert(Arc::new(columns))))
    }

    fn block(&self, index: u64, first_number: u64, body: Body) -> Block {
        Block {
            index,
            file: Arc::clone(&self.file),
            first_number,
            body,
        }
    }

    fn read_error(&self, number: u64, source: io::Error) -> SourceError {
        let place = Place {
            path: self.file.path.clone(),
            unit: self.unit(),
            number,
        };
        SourceError::Read { place, source }
    }

    fn unit(&self) -> PlaceUnit {
        match self.format {
            Format::Jsonl | Format::Csv | Format::Tsv => PlaceUnit::Line,
            Format::Parquet | Format::Medline | Format::Text => PlaceUnit::Record,
        }
    }
}
