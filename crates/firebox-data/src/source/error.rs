//! What can go wrong between a path and its documents.

use std::io;
use std::path::PathBuf;

use crate::Place;

/// An error that ends the reading of a file, or of all of them.
///
/// A record that cannot be used is not one of these: it is a [`BrokenRecord`], which is counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A path, directory or glob leads to no file that can be read.
    #[error(
        "find data in `{pattern}`: expected a file, `-`, a directory or a glob with at least one \
         .jsonl, .csv, .tsv, .parquet, .xml or .txt file (each but .parquet may end in .gz or \
         .zst), found none (hint: check the path)"
    )]
    NoFiles {
        /// What was asked for.
        pattern: PathBuf,
    },
    /// A glob does not parse.
    #[error("read the glob `{pattern}` (hint: write `[[]` for a literal `[`)")]
    BadGlob {
        /// What was asked for.
        pattern: PathBuf,
        /// Where the glob breaks.
        #[source]
        source: glob::PatternError,
    },
    /// A file's name says nothing about its format.
    #[error(
        "choose a reader for `{path}`: expected a name ending in .jsonl, .csv, .tsv, .parquet, \
         .xml, .txt or .md, optionally followed by .gz or .zst (hint: rename the file, or say the \
         format)"
    )]
    UnknownExtension {
        /// The file.
        path: PathBuf,
    },
    /// A format that this build does not read or write.
    #[error(
        "open `{path}`: expected the feature `{feature}`, found a build without it (hint: {hint})"
    )]
    NotBuilt {
        /// The file.
        path: PathBuf,
        /// What is missing.
        feature: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A format whose files must be read from the end, from an input that has none.
    #[error(
        "read `{path}`: expected a Parquet file on disk without .gz or .zst around it, found a \
         stream (hint: save or unpack it first; Parquet compresses inside)"
    )]
    NotSeekable {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder cannot be opened.
    #[error("open `{path}` (hint: does it exist, and may you read it?)")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Reading stopped in the middle of a file. The records before it were read.
    #[error("read {place} (hint: a truncated download or compressed file? fetch it again)")]
    Read {
        /// Where reading stopped.
        place: Place,
        /// The system's or the decompressor's reason.
        #[source]
        source: io::Error,
    },
    /// A table has no column for the text.
    #[error(
        "read `{path}`: expected a column `{expected}` with the text, found {found} (hint: name \
         the text's column in the field names)"
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column that was looked for.
        expected: String,
        /// The columns that there are.
        found: String,
    },
    /// A column has a type that cannot be a text.
    #[error(
        "read `{path}`, column `{column}`: expected {expected}, found {found} (hint: convert the column, or name another)"
    )]
    WrongColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A Parquet file breaks its format.
    #[cfg(feature = "parquet")]
    #[error("read {place} (hint: is this a Parquet file, and whole? fetch it again)")]
    Parquet {
        /// Where reading stopped.
        place: Place,
        /// What the `parquet` crate says.
        #[source]
        source: Box<parquet::errors::ParquetError>,
    },
    /// More records are broken than the limit allows.
    #[error(
        "read the data: expected at most {allowed} broken, found {n_broken} of {n_records} records \
         ({percent:.2} %); the first: {first} (hint: correct the data, or raise the limit)"
    )]
    TooManyBroken {
        /// The limit, in words.
        allowed: String,
        /// Broken records so far.
        n_broken: u64,
        /// Records so far, broken ones included.
        n_records: u64,
        /// The share of broken ones, in percent.
        percent: f64,
        /// The first of them.
        first: String,
    },
}

/// A record that cannot be used: where it is, and why.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct BrokenRecord {
    /// The file and the line or record in it.
    pub place: Place,
    /// What is wrong with it.
    pub reason: BrokenReason,
}

/// Why a record is broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenReason {
    /// The record is larger than the limit. It was passed over without being held in memory.
    #[error(
        "expected at most {limit_bytes} bytes, found more (hint: split the record, or raise `max_record_bytes`)"
    )]
    TooLarge {
        /// The limit, from [`SourceOptions`](super::SourceOptions).
        limit_bytes: u64,
    },
    /// The text is not UTF-8.
    #[error(
        "expected UTF-8, found other bytes after {valid_bytes} good ones (hint: convert the file, \
         for instance with `iconv -t UTF-8`)"
    )]
    NotUtf8 {
        /// How many bytes of it are good.
        valid_bytes: usize,
    },
    /// A line is not JSON, or a field has the wrong type.
    #[error(
        "expected one JSON object on the line, found: {message} (hint: correct or remove the line)"
    )]
    Json {
        /// Where in the line, and why.
        message: String,
    },
    /// A record lacks what it must have.
    #[error("expected {expected}, found {found} (hint: rename the fields, or remove the record)")]
    WrongFields {
        /// What a record needs.
        expected: String,
        /// What this one has.
        found: String,
    },
    /// The XML is not well-formed.
    #[error("byte {byte}: {source} (hint: is the file whole? fetch it again)")]
    Xml {
        /// Position in the decompressed file.
        byte: u64,
        /// What the parser found.
        source: Box<quick_xml::Error>,
    },
    /// The XML is well-formed, but not what MEDLINE files look like.
    #[error("byte {byte}: expected {expected}, found {found} (hint: {hint})")]
    XmlContent {
        /// Position in the decompressed file.
        byte: u64,
        /// What a MEDLINE file has there.
        expected: &'static str,
        /// What this one has.
        found: String,
        /// What to do.
        hint: &'static str,
    },
}

/// Names in an error message: at most eight, each cut to 32 characters.
pub(crate) fn shown_names<'a>(names: impl Iterator<Item = &'a str>, none: &str) -> String {
    const MAX_SHOWN: usize = 8;
    let mut names = names.peekable();
    if names.peek().is_none() {
        return none.to_string();
    }
    let mut shown: Vec<String> = names
        .by_ref()
        .take(MAX_SHOWN)
        .map(|name| format!("`{}`", name.chars().take(32).collect::<String>()))
        .collect();
    match names.count() {
        0 => {}
        n_more => shown.push(format!("{n_more} more")),
    }
    shown.join(", ")
}
