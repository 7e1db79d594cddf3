//! One file of documents, written in order.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::WriteError;
use super::atomic::AtomicFile;
use super::chunk::{Chunk, ChunkBody, ChunkMaker, SealedChunk};
#[cfg(feature = "parquet")]
use super::parquet::ParquetFile;
use crate::{Compression, Document, Format};

/// How documents are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// The field that holds the text in the JSON that documents were read from: `text`.
    pub text_field: String,
    /// zstd's level, for `.zst` and inside Parquet: 3, zstd's own default.
    pub zstd_level: i32,
    /// gzip's level, from 0 to 9: 6, gzip's own default.
    pub gzip_level: u32,
    /// About how many bytes [`RecordWriter::write`] gathers before it compresses them: 4 MiB.
    pub chunk_bytes: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            text_field: "text".to_string(),
            zstd_level: 3,
            gzip_level: 6,
            chunk_bytes: 4 << 20,
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputFormat {
    Jsonl(Compression),
    #[cfg(feature = "parquet")]
    Parquet,
}

/// Writes documents to `.jsonl`, `.jsonl.gz`, `.jsonl.zst` or (feature `parquet`) `.parquet`.
///
/// The file is written under another name in the same folder, forced to the disk and renamed by
/// [`finish`](Self::finish): a process that dies at any moment leaves the old file or the new one.
/// Dropped before, it leaves nothing.
///
/// A document from JSON Lines is written as it was read, all its fields in their places, with the
/// text replaced if it was changed. Others become `{"id": .., "title": .., "text": .., "year": ..,
/// "mesh_terms": ..}` without the fields that they lack; Parquet files have these columns always.
///
/// # Examples
/// ```
/// use firebox_data::{Document, RecordWriter, WriteOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("kept.jsonl");
/// let mut writer = RecordWriter::create(&path, WriteOptions::default())?;
/// let source = r#"{"text": "a  b", "stars": 5}"#;
/// let document = Document { text: "a b".into(), source: Some(source), ..Document::default() };
/// writer.write(&document)?;
/// assert_eq!(writer.finish()?.n_documents, 1);
/// assert_eq!(std::fs::read_to_string(&path)?, "{\"text\": \"a b\", \"stars\": 5}\n");
/// # Ok(())
/// # }
/// ```
pub struct RecordWriter {
    path: PathBuf,
    output: Output,
    chunks: ChunkMaker,
    /// What [`write`](Self::write) gathers.
    gathered: Chunk,
    n_documents: u64,
}

enum Output {
    Bytes(AtomicFile),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetFile>),
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it is.
    pub path: PathBuf,
    /// Documents in it.
    pub n_documents: u64,
    /// Its size on disk.
    pub n_bytes: u64,
}

impl RecordWriter {
    /// Starts a file; its name says the format.
    ///
    /// # Errors
    /// [`WriteError::UnknownExtension`], [`WriteError::NotBuilt`], or [`WriteError::Write`].
    pub fn create(path: impl AsRef<Path>, options: WriteOptions) -> Result<Self, WriteError> {
        let path = path.as_ref();
        let format = format_of(path)?;
        let file = AtomicFile::create(path).map_err(|source| write_error(path, source))?;
        let output = match format {
            OutputFormat::Jsonl(_) => Output::Bytes(file),
            #[cfg(feature = "parquet")]
            OutputFormat::Parquet => Output::Parquet(Box::new(ParquetFile::create(
                file,
                path,
                options.zstd_level,
            )?)),
        };
        let chunks = ChunkMaker {
            format,
            options: Arc::new(options),
        };
        Ok(Self {
            path: path.to_path_buf(),
            output,
            gathered: chunks.chunk(),
            chunks,
            n_documents: 0,
        })
    }

    /// What makes chunks for this file on other threads.
    #[must_use]
    pub fn chunks(&self) -> ChunkMaker {
        self.chunks.clone()
    }

    /// Writes one document behind all others.
    ///
    /// # Errors
    /// As [`Chunk::push`] and [`write_chunk`](Self::write_chunk).
    pub fn write(&mut self, document: &Document<'_>) -> Result<(), WriteError> {
        self.gathered.push(document)?;
        if self.gathered.n_bytes() >= self.chunks.options.chunk_bytes {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes a chunk behind all others.
    ///
    /// # Errors
    /// [`WriteError::Write`], [`WriteError::Parquet`](WriteError), or [`WriteError::OtherChunk`].
    pub fn write_chunk(&mut self, chunk: SealedChunk) -> Result<(), WriteError> {
        self.flush()?;
        self.put(chunk)
    }

    /// Writes a file of the same format behind all others, as it is.
    ///
    /// # Errors
    /// [`WriteError::Write`], also where the file cannot be read or this one is a table.
    pub(crate) fn append_file(&mut self, path: &Path, n_documents: u64) -> Result<(), WriteError> {
        self.flush()?;
        let copied = match &mut self.output {
            Output::Bytes(file) => {
                File::open(path).and_then(|mut from| io::copy(&mut from, file).map(|_| ()))
            }
            #[cfg(feature = "parquet")]
            Output::Parquet(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        copied.map_err(|source| write_error(&self.path, source))?;
        self.n_documents += n_documents;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if self.gathered.n_documents() == 0 {
            return Ok(());
        }
        let gathered = std::mem::replace(&mut self.gathered, self.chunks.chunk());
        self.put(gathered.seal()?)
    }

    fn put(&mut self, chunk: SealedChunk) -> Result<(), WriteError> {
        if chunk.format != self.chunks.format {
            return Err(WriteError::OtherChunk {
                path: self.path.clone(),
            });
        }
        let n_documents = chunk.n_documents;
        match (&mut self.output, chunk.body) {
            (Output::Bytes(file), ChunkBody::Lines(lines)) => file
                .write_all(&lines)
                .map_err(|source| write_error(&self.path, source))?,
            #[cfg(feature = "parquet")]
            (Output::Parquet(file), ChunkBody::Table(table)) if n_documents > 0 => {
                file.write(*table, &self.path)?;
            }
            #[cfg(feature = "parquet")]
            _ => {}
        }
        self.n_documents += n_documents;
        Ok(())
    }

    /// Forces everything to the disk and gives the file its name.
    ///
    /// # Errors
    /// [`WriteError::Write`] or [`WriteError::Parquet`](WriteError); nothing is then left.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        self.flush()?;
        if self.n_documents == 0 {
            // An empty gzip member or Zstandard frame: an empty file would be neither.
            self.put(self.chunks.chunk().seal()?)?;
        }
        let file = self.output.into_file(&self.path)?;
        let n_bytes = file
            .commit()
            .map_err(|source| write_error(&self.path, source))?;
        Ok(Written {
            path: self.path,
            n_documents: self.n_documents,
            n_bytes,
        })
    }
}

impl Output {
    /// The file, with all that its format puts at the end.
    #[cfg(feature = "parquet")]
    fn into_file(self, path: &Path) -> Result<AtomicFile, WriteError> {
        match self {
            Self::Bytes(file) => Ok(file),
            Self::Parquet(file) => file.finish(path),
        }
    }

    #[cfg(not(feature = "parquet"))]
    fn into_file(self, _path: &Path) -> Result<AtomicFile, WriteError> {
        let Self::Bytes(file) = self;
        Ok(file)
    }
}

pub(super) fn format_of(path: &Path) -> Result<OutputFormat, WriteError> {
    match Format::from_name(path) {
        Some((Format::Jsonl, compression)) => Ok(OutputFormat::Jsonl(compression)),
        #[cfg(feature = "parquet")]
        Some((Format::Parquet, Compression::None)) => Ok(OutputFormat::Parquet),
        #[cfg(not(feature = "parquet"))]
        Some((Format::Parquet, Compression::None)) => Err(WriteError::NotBuilt {
            path: path.to_path_buf(),
        }),
        _ => Err(WriteError::UnknownExtension {
            path: path.to_path_buf(),
        }),
    }
}

fn write_error(path: &Path, source: io::Error) -> WriteError {
    WriteError::Write {
        path: path.to_path_buf(),
        source,
    }
}
