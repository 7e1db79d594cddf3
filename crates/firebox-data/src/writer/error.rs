//! What can go wrong between documents and a file.

use std::io;
use std::path::PathBuf;

/// An error of a [`RecordWriter`](super::RecordWriter). What the path held before is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A name that says no format that is written.
    #[error(
        "write `{path}`: expected a name ending in .jsonl, .jsonl.gz, .jsonl.zst or .parquet, found \
         another (hint: rename the output)"
    )]
    UnknownExtension {
        /// The output.
        path: PathBuf,
    },
    /// A format that this build does not write.
    #[error(
        "write `{path}`: expected the feature `parquet`, found a build without it (hint: write \
         .jsonl.zst, or build with `--features parquet`)"
    )]
    NotBuilt {
        /// The output.
        path: PathBuf,
    },
    /// The system refused.
    #[error("write `{path}` (hint: is there space, and may you write there?)")]
    Write {
        /// The output.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A document cannot take its new text.
    #[error(
        "write the document at {number}: expected the field `{field}` with a string in its source, \
         found {found} (hint: write with the field names that it was read with)"
    )]
    NoTextField {
        /// Line or record of the document in its file.
        number: u64,
        /// The text's field.
        field: String,
        /// What is there.
        found: String,
    },
    /// A chunk for another format.
    #[error(
        "write `{path}`: expected a chunk that this writer made, found one for another format \
         (hint: get it from `chunks()` of this writer)"
    )]
    OtherChunk {
        /// The output.
        path: PathBuf,
    },
    /// A chunk that cannot be compressed.
    #[error(
        "compress {n_bytes} bytes of documents (hint: is there memory, and is the level right?)"
    )]
    Compress {
        /// How large the chunk is.
        n_bytes: usize,
        /// The compressor's reason.
        #[source]
        source: io::Error,
    },
    /// A value that cannot be serialized.
    #[error("serialize the document at {number}")]
    Serialize {
        /// Line or record of the document in its file.
        number: u64,
        /// Why.
        #[source]
        source: sonic_rs::Error,
    },
    /// A table that cannot be made or written.
    #[cfg(feature = "parquet")]
    #[error("write `{path}` as Parquet (hint: is there space? is one chunk below 2 GiB?)")]
    Parquet {
        /// The output.
        path: PathBuf,
        /// What the `parquet` crate says.
        #[source]
        source: Box<::parquet::errors::ParquetError>,
    },
}
