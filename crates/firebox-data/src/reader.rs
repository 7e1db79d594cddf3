//! Reading records from files, one at a time.

mod convert;
mod jsonl;
mod medline;

use std::path::{Path, PathBuf};

use crate::source::{
    AbstractStyle, Block, Blocks, Documents, Line, SourceOptions, Sources, files_of, is_known,
};
use crate::{DataError, Record};

pub(crate) use convert::record_of_document;
use convert::{data_error, record_error};
pub use jsonl::JsonlReader;
use jsonl::record_of_line;
pub use medline::MedlineReader;

/// Size of the blocks: all records of one are held.
const BLOCK_BYTES: usize = 1 << 20;

/// Limits on what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Largest line (JSONL, CSV), record (MEDLINE XML) or file (plain text), in bytes after
    /// decompression. Memory use stays within a small multiple of it. 64 MiB.
    pub max_record_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            max_record_bytes: 64 << 20,
        }
    }
}

impl From<ReadOptions> for SourceOptions {
    fn from(options: ReadOptions) -> Self {
        Self {
            max_record_bytes: options.max_record_bytes,
            abstract_style: AbstractStyle::Joined,
            block_bytes: BLOCK_BYTES,
            ..Self::default()
        }
    }
}

/// Opens a file, every file of a directory, or the files of a glob, with the default limits.
///
/// The format follows the name: `.jsonl` (or `.ndjson`, `.json`), `.csv`, `.tsv`, `.xml` (MEDLINE) and
/// `.txt` or `.md` (one record per file), each also with `.gz` or `.zst`, and `.parquet` with the
/// feature of that name. `-` is standard input, JSON Lines, compressed or not. Files are read in the
/// order of their names. [`Sources`] has more choices, and is faster.
///
/// # Errors
/// [`DataError::NoFiles`], [`DataError::BadGlob`], [`DataError::UnknownExtension`], or
/// [`DataError::Open`] for a folder. A file's own errors come from the iterator.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("notes.jsonl");
/// std::fs::write(&path, "{\"text\": \"Aspirin relieves pain.\", \"year\": 1977}\n")?;
/// for record in firebox_data::read_records(&path)? {
///     println!("{:?}", record?);
/// }
/// # Ok(())
/// # }
/// ```
pub fn read_records(path: impl AsRef<Path>) -> Result<Records, DataError> {
    read_records_with(path, ReadOptions::default())
}

/// As [`read_records`], with limits of one's own.
///
/// # Errors
/// As [`read_records`].
pub fn read_records_with(
    path: impl AsRef<Path>,
    options: ReadOptions,
) -> Result<Records, DataError> {
    let sources = Sources::list([path], options.into()).map_err(data_error)?;
    Ok(Records {
        blocks: sources.blocks(),
        ready: Vec::new().into_iter(),
        n_skipped: 0,
    })
}

/// The data files that a path means, sorted by name.
///
/// A file is itself; a directory means the files in it and below whose names a reader knows,
/// leaving out hidden ones; anything else is a glob (`data/*.jsonl`, `corpus/**/*.xml.gz`).
///
/// # Errors
/// [`DataError::NoFiles`] if nothing is found, [`DataError::BadGlob`] if the glob does not parse,
/// [`DataError::Open`] if a folder cannot be read.
pub fn list_files(path: impl AsRef<Path>) -> Result<Vec<PathBuf>, DataError> {
    files_of(path.as_ref(), &is_known).map_err(data_error)
}

/// The records of one or more files, in order.
///
/// A line or record that cannot be used is an error of its own: reading goes on after it where
/// the rest of the file is still readable, else with the next file.
pub struct Records {
    blocks: Blocks,
    ready: std::vec::IntoIter<Result<Record, DataError>>,
    n_skipped: u64,
}

impl Records {
    /// How many records so far had nothing to learn from: MEDLINE citations without abstract. They
    /// are counted some records ahead.
    #[must_use]
    pub fn n_skipped(&self) -> u64 {
        self.n_skipped
    }
}

/// The records of one [`Block`].
#[derive(Debug)]
pub struct BlockRecords {
    /// The records in order, broken ones in their places.
    pub records: Vec<Result<Record, DataError>>,
    /// How many were whole but had nothing to learn from: MEDLINE citations without abstract.
    pub n_skipped: u64,
}

impl Block {
    /// Its records, parsed: texts as [`documents`](Self::documents) has them, and conversations, which
    /// only JSON Lines hold.
    ///
    /// # Examples
    /// ```
    /// use firebox_data::{Record, SourceOptions, Sources};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("chats.jsonl");
    /// std::fs::write(&path, r#"{"messages": [{"role": "user", "content": "Is water wet?"}]}"#)?;
    /// let mut blocks = Sources::list([&path], SourceOptions::default())?.blocks();
    /// let block = blocks.next().ok_or("no block")??;
    /// assert!(matches!(block.records().records[..], [Ok(Record::Chat(_))]));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn records(&self) -> BlockRecords {
        if let Some(lines) = self.lines() {
            let record = |line: Result<Line<'_>, _>| {
                record_of_line(&line.map_err(record_error)?, &self.file)
            };
            return BlockRecords {
                records: lines.map(record).collect(),
                n_skipped: 0,
            };
        }
        let mut documents = self.documents();
        BlockRecords {
            records: owned(&mut documents),
            n_skipped: documents.n_skipped(),
        }
    }
}

fn owned(documents: &mut Documents<'_>) -> Vec<Result<Record, DataError>> {
    documents
        .map(|document| match document {
            Ok(document) => Ok(Record::Text(record_of_document(document))),
            Err(broken) => Err(record_error(broken)),
        })
        .collect()
}

impl Iterator for Records {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.next() {
                return Some(record);
            }
            match self.blocks.next()? {
                Ok(block) => {
                    let parsed = block.records();
                    self.n_skipped += parsed.n_skipped;
                    self.ready = parsed.records.into_iter();
                }
                Err(error) => return Some(Err(data_error(error))),
            }
        }
    }
}

#[cfg(test)]
mod tests;
