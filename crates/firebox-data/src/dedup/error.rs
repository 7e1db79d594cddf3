//! What deduplication can report.

use std::io;
use std::path::PathBuf;

/// Everything that can go wrong between a config and the list of kept documents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DedupError {
    /// A setting outside its range.
    #[error(
        "read `{field}` of [dedup]: expected {expected}, found {found} (hint: correct the recipe)"
    )]
    Setting {
        /// The setting.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The folder for temporary files cannot be used.
    #[error(
        "create a temporary file in `{folder}` (hint: the folder must exist, and you must be \
         allowed to write there)"
    )]
    CreateSpill {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A temporary file cannot be written.
    #[error(
        "write {n_bytes} bytes to a temporary file in `{folder}` (hint: is the disk full? hashes \
         take {bytes_per_document} bytes a document)"
    )]
    WriteSpill {
        /// The folder.
        folder: PathBuf,
        /// What was to be written.
        n_bytes: u64,
        /// What a document takes on disk.
        bytes_per_document: u64,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A temporary file cannot be read back.
    #[error(
        "read {n_bytes} bytes at byte {offset} of a temporary file in `{folder}` (hint: was the \
         disk removed?)"
    )]
    ReadSpill {
        /// The folder.
        folder: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What was to be read.
        n_bytes: u64,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// More documents than a document number can count.
    #[error(
        "add document {n_documents}: expected at most {limit} documents in one run (hint: \
         deduplicate the corpus in parts)"
    )]
    TooManyDocuments {
        /// How many there are already.
        n_documents: u64,
        /// The limit.
        limit: u64,
    },
    /// A fingerprint of another config.
    #[error(
        "add document {document}: expected a fingerprint with {expected}, found {found} (hint: \
         make fingerprints and clusters from the same config)"
    )]
    OtherConfig {
        /// The document's number.
        document: u64,
        /// What the config asks for.
        expected: String,
        /// What the fingerprint has.
        found: String,
    },
}
