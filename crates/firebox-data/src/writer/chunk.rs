//! Some documents, serialized; the unit in which files are written.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use flate2::write::GzEncoder;

use super::WriteError;
use super::json_line::append_json_line;
#[cfg(feature = "parquet")]
use super::parquet::Table;
use super::record_writer::{OutputFormat, WriteOptions, format_of};
use crate::{Compression, Document};

/// Makes the chunks of one [`RecordWriter`](super::RecordWriter), on any thread.
#[derive(Debug, Clone)]
pub struct ChunkMaker {
    pub(super) format: OutputFormat,
    pub(super) options: Arc<WriteOptions>,
}

/// Documents on their way to a file.
#[derive(Debug)]
pub struct Chunk {
    pub(super) format: OutputFormat,
    options: Arc<WriteOptions>,
    body: ChunkBody,
    n_documents: u64,
}

/// A [`Chunk`] that is ready to be written.
#[derive(Debug)]
pub struct SealedChunk {
    pub(super) format: OutputFormat,
    pub(super) body: ChunkBody,
    pub(super) n_documents: u64,
}

#[derive(Debug)]
pub(super) enum ChunkBody {
    Lines(Vec<u8>),
    #[cfg(feature = "parquet")]
    Table(Box<Table>),
}

impl ChunkMaker {
    /// What makes chunks for a file of this name.
    ///
    /// # Errors
    /// [`WriteError::UnknownExtension`] or [`WriteError::NotBuilt`].
    pub(crate) fn for_file(path: &Path, options: WriteOptions) -> Result<Self, WriteError> {
        Ok(Self {
            format: format_of(path)?,
            options: Arc::new(options),
        })
    }

    /// A chunk without documents.
    #[must_use]
    pub fn chunk(&self) -> Chunk {
        let body = match self.format {
            #[cfg(feature = "parquet")]
            OutputFormat::Parquet => ChunkBody::Table(Box::default()),
            _ => ChunkBody::Lines(Vec::new()),
        };
        Chunk {
            format: self.format,
            options: Arc::clone(&self.options),
            body,
            n_documents: 0,
        }
    }
}

impl Chunk {
    /// Adds a document.
    ///
    /// # Errors
    /// [`WriteError::NoTextField`] or [`WriteError::Serialize`]; the document is then left out.
    pub fn push(&mut self, document: &Document<'_>) -> Result<(), WriteError> {
        match &mut self.body {
            ChunkBody::Lines(lines) => {
                let n_before = lines.len();
                append_json_line(document, &self.options.text_field, lines)
                    .inspect_err(|_| lines.truncate(n_before))?;
            }
            #[cfg(feature = "parquet")]
            ChunkBody::Table(table) => table.push(document),
        }
        self.n_documents += 1;
        Ok(())
    }

    /// Adds a document that is a line of JSON already; tables take none.
    pub(crate) fn push_line(&mut self, line: &str) {
        match &mut self.body {
            ChunkBody::Lines(lines) => {
                lines.extend_from_slice(line.as_bytes());
                lines.push(b'\n');
                self.n_documents += 1;
            }
            #[cfg(feature = "parquet")]
            ChunkBody::Table(_) => debug_assert!(false, "a line for a table"),
        }
    }

    /// How many documents it has.
    #[must_use]
    pub fn n_documents(&self) -> u64 {
        self.n_documents
    }

    /// About how many bytes it holds.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        match &self.body {
            ChunkBody::Lines(lines) => lines.len(),
            #[cfg(feature = "parquet")]
            ChunkBody::Table(table) => table.n_bytes(),
        }
    }

    /// Compresses it, as a gzip member or Zstandard frame of its own, so that the writer need not.
    /// Readers take such files for one stream.
    ///
    /// # Errors
    /// [`WriteError::Compress`].
    pub fn seal(mut self) -> Result<SealedChunk, WriteError> {
        match &mut self.body {
            ChunkBody::Lines(lines) => {
                let n_bytes = lines.len();
                *lines = compress(std::mem::take(lines), self.format, &self.options)
                    .map_err(|source| WriteError::Compress { n_bytes, source })?;
            }
            #[cfg(feature = "parquet")]
            ChunkBody::Table(_) => {}
        }
        Ok(SealedChunk {
            format: self.format,
            body: self.body,
            n_documents: self.n_documents,
        })
    }
}

impl SealedChunk {
    /// How many documents it has.
    #[must_use]
    pub fn n_documents(&self) -> u64 {
        self.n_documents
    }
}

fn compress(lines: Vec<u8>, format: OutputFormat, options: &WriteOptions) -> io::Result<Vec<u8>> {
    match format {
        OutputFormat::Jsonl(Compression::Gzip) => {
            let level = flate2::Compression::new(options.gzip_level.min(9));
            let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 2), level);
            encoder.write_all(&lines)?;
            encoder.finish()
        }
        OutputFormat::Jsonl(Compression::Zstd) => zstd::bulk::compress(&lines, options.zstd_level),
        _ => Ok(lines),
    }
}
