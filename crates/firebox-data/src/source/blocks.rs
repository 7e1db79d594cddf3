//! Files in, blocks out.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::block::Block;
use super::boundary::Boundary;
use super::buffer::BufferPool;
use super::cutter::{Cutter, Sizes};
use super::file_blocks::{FileBlocks, FileReader};
use super::files::STDIN;
use super::input::{Input, open_file, open_stream};
#[cfg(feature = "parquet")]
use super::parquet::Batches;
use super::sources::Sources;
use super::{Format, SourceError, SourceOptions};

/// The blocks of some files, in order; see [`Sources::blocks`].
///
/// The same files and options give the same blocks, whatever reads them. An error ends the file it
/// is about; the next block is from the next file.
pub struct Blocks {
    files: std::vec::IntoIter<PathBuf>,
    options: SourceOptions,
    current: Option<FileBlocks>,
    n_blocks: u64,
    n_bytes_read: Arc<AtomicU64>,
    pool: BufferPool,
}

impl Blocks {
    pub(super) fn new(sources: &Sources) -> Self {
        Self {
            files: sources.files().to_vec().into_iter(),
            options: sources.options().clone(),
            current: None,
            n_blocks: 0,
            n_bytes_read: Arc::default(),
            pool: BufferPool::default(),
        }
    }

    /// The blocks of any stream; `name` is what messages call it. Its first bytes say whether it is
    /// compressed; it is JSON Lines unless the options say otherwise.
    ///
    /// # Errors
    /// [`SourceError::Open`] if its first bytes cannot be read, [`SourceError::NotSeekable`] for
    /// Parquet.
    pub fn from_reader(
        input: impl Read + Send + 'static,
        name: impl AsRef<Path>,
        options: SourceOptions,
    ) -> Result<Self, SourceError> {
        let name = name.as_ref();
        let n_bytes_read = Arc::default();
        let input = open_stream(input, &n_bytes_read).map_err(|source| SourceError::Open {
            path: name.to_path_buf(),
            source,
        })?;
        let mut blocks = Self {
            files: Vec::new().into_iter(),
            options,
            current: None,
            n_blocks: 0,
            n_bytes_read,
            pool: BufferPool::default(),
        };
        blocks.current = Some(blocks.stream(name, blocks.stream_format(), input)?);
        Ok(blocks)
    }

    /// How many bytes were read so far, as they are on disk: for a progress bar.
    #[must_use]
    pub fn n_bytes_read(&self) -> u64 {
        self.n_bytes_read.load(Ordering::Relaxed)
    }

    /// The format of a stream without a name.
    fn stream_format(&self) -> Format {
        self.options.format.unwrap_or(Format::Jsonl)
    }

    fn open(&self, path: &Path) -> Result<FileBlocks, SourceError> {
        if path == Path::new(STDIN) {
            let input = open_stream(io::stdin(), &self.n_bytes_read).map_err(|source| {
                SourceError::Open {
                    path: path.to_path_buf(),
                    source,
                }
            })?;
            return self.stream(path, self.stream_format(), input);
        }
        let (format, compression) = Format::of(path, self.options.format)?;
        if format == Format::Parquet {
            return self.open_parquet(path, compression);
        }
        let input = open_file(path, compression, &self.n_bytes_read)?;
        self.stream(path, format, input)
    }

    #[cfg(feature = "parquet")]
    fn open_parquet(
        &self,
        path: &Path,
        compression: super::Compression,
    ) -> Result<FileBlocks, SourceError> {
        if compression != super::Compression::None {
            return Err(SourceError::NotSeekable {
                path: path.to_path_buf(),
            });
        }
        let reader = FileReader::Parquet(Box::new(Batches::open(path, &self.options)?));
        Ok(FileBlocks::new(
            path,
            Format::Parquet,
            reader,
            &self.options,
        ))
    }

    #[cfg(not(feature = "parquet"))]
    fn open_parquet(&self, path: &Path, _: super::Compression) -> Result<FileBlocks, SourceError> {
        Err(SourceError::NotBuilt {
            path: path.to_path_buf(),
            feature: "parquet",
            hint: "build with `--features parquet`, or convert the file to JSON Lines",
        })
    }

    fn stream(&self, path: &Path, format: Format, input: Input) -> Result<FileBlocks, SourceError> {
        let boundary = match format {
            Format::Jsonl => Boundary::Line,
            Format::Csv => Boundary::csv(b','),
            Format::Tsv => Boundary::csv(b'\t'),
            Format::Medline => Boundary::Citation,
            Format::Text => Boundary::File,
            Format::Parquet => {
                return Err(SourceError::NotSeekable {
                    path: path.to_path_buf(),
                });
            }
        };
        let sizes = Sizes {
            block_bytes: self.options.block_bytes,
            max_record_bytes: self.options.max_record_bytes,
        };
        let cutter = Cutter::new(input, boundary, sizes, &self.pool);
        Ok(FileBlocks::new(
            path,
            format,
            FileReader::Stream(cutter),
            &self.options,
        ))
    }
}

impl Iterator for Blocks {
    type Item = Result<Block, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(current) = &mut self.current {
                match current.next(self.n_blocks) {
                    Some(Ok(block)) => {
                        self.n_blocks += 1;
                        return Some(Ok(block));
                    }
                    Some(Err(error)) => {
                        self.current = None;
                        return Some(Err(error));
                    }
                    None => self.current = None,
                }
            }
            let path = self.files.next()?;
            match self.open(&path) {
                Ok(file) => self.current = Some(file),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
