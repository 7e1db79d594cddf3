//! Reading records from files, one at a time.

mod files;
mod jsonl;
mod medline;
mod medline_fields;
mod record_limit;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{DataError, Place, PlaceUnit, Record, TextRecord};

pub use files::list_files;
use files::{Format, format_of};
pub use jsonl::JsonlReader;
pub use medline::MedlineReader;

/// Limits on what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Largest line (JSONL), record (MEDLINE XML) or file (plain text), in bytes after
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

/// Opens a file, every file of a directory, or the files of a glob, with the default limits.
///
/// The format follows the name: `.jsonl` (or `.ndjson`), `.xml` (MEDLINE) and `.txt` or `.md` (one
/// record per file), each also with `.gz`. Files are read in the order of their names.
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
    let files = list_files(path)?;
    for path in &files {
        format_of(path)?;
    }
    Ok(Records {
        files: files.into(),
        options,
        current: None,
        n_skipped: 0,
    })
}

/// The records of one or more files, in order.
///
/// A line or record that cannot be used is an error of its own: reading goes on after it where
/// the rest of the file is still readable (JSONL), else with the next file.
pub struct Records {
    files: VecDeque<PathBuf>,
    options: ReadOptions,
    current: Option<FileReader>,
    n_skipped: u64,
}

type Input = Box<dyn BufRead + Send>;

enum FileReader {
    Jsonl(JsonlReader<Input>),
    Medline(Box<MedlineReader<Input>>),
    Text(Option<Result<Record, DataError>>),
}

impl Records {
    /// How many records so far had nothing to learn from: MEDLINE citations without abstract.
    #[must_use]
    pub fn n_skipped(&self) -> u64 {
        let n_in_current = match &self.current {
            Some(FileReader::Medline(reader)) => reader.n_skipped(),
            _ => 0,
        };
        self.n_skipped + n_in_current
    }
}

impl Iterator for Records {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let item = match &mut self.current {
                Some(FileReader::Jsonl(reader)) => reader.next(),
                Some(FileReader::Medline(reader)) => reader.next().map(|r| r.map(Record::Text)),
                Some(FileReader::Text(record)) => record.take(),
                None => None,
            };
            if item.is_some() {
                return item;
            }
            self.n_skipped = self.n_skipped();
            self.current = None;
            match open(&self.files.pop_front()?, self.options) {
                Ok(reader) => self.current = Some(reader),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn open(path: &Path, options: ReadOptions) -> Result<FileReader, DataError> {
    let (format, is_gzip) = format_of(path)?;
    let file = File::open(path).map_err(|source| DataError::Open {
        path: path.to_path_buf(),
        source,
    })?;
    let mut input: Input = Box::new(BufReader::with_capacity(1 << 16, file));
    if is_gzip {
        input = Box::new(BufReader::with_capacity(
            1 << 16,
            MultiGzDecoder::new(input),
        ));
    }
    Ok(match format {
        Format::Jsonl => FileReader::Jsonl(JsonlReader::new(input, path, options)),
        Format::Medline => FileReader::Medline(Box::new(MedlineReader::new(input, path, options))),
        Format::Text => FileReader::Text(Some(read_text(input, path, options))),
    })
}

/// A plain-text file is one record.
fn read_text(input: Input, path: &Path, options: ReadOptions) -> Result<Record, DataError> {
    let place = || Place {
        path: path.to_path_buf(),
        unit: PlaceUnit::Record,
        number: 1,
    };
    let limit_bytes = options.max_record_bytes;
    let mut bytes = Vec::new();
    input
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| DataError::Read {
            place: place(),
            source,
        })?;
    if bytes.len() as u64 > limit_bytes {
        return Err(DataError::RecordTooLarge {
            place: place(),
            limit_bytes,
        });
    }
    let text = String::from_utf8(bytes).map_err(|error| DataError::NotUtf8 {
        place: place(),
        valid_bytes: error.utf8_error().valid_up_to(),
    })?;
    let text = text
        .strip_prefix('\u{feff}')
        .map(str::to_string)
        .unwrap_or(text);
    let id = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(Record::Text(TextRecord {
        id,
        text,
        ..TextRecord::default()
    }))
}

#[cfg(test)]
mod tests;
