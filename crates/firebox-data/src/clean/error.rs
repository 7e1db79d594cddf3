//! Why a corpus was not cleaned.

use std::io;
use std::path::PathBuf;

use crate::decontaminate::DecontaminateError;
use crate::dedup::DedupError;
use crate::filter::FilterError;
use crate::source::SourceError;
use crate::writer::WriteError;

/// What can go wrong while a corpus is cleaned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CleanError {
    /// The files.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The rules.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Deduplication.
    #[error(transparent)]
    Dedup(#[from] DedupError),
    /// Decontamination.
    #[error(transparent)]
    Decontaminate(#[from] DecontaminateError),
    /// The output.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The work folder cannot be made or removed.
    #[error("keep work in `{path}` (hint: may you write beside the output, and is there room?)")]
    WorkFolder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file of the work folder cannot be read or written.
    #[error("use the work file `{path}` (hint: is the disk full? free some and run it again)")]
    WorkFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The state does not parse.
    #[error(
        "read `{path}`: expected the state of a job, found something else (hint: remove its folder to begin again)"
    )]
    State {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The work folder is that of another recipe, or its files have changed.
    #[error(
        "go on in `{folder}`: expected the work of this recipe over these files, found that of \
         others, or of files that have changed since (hint: remove the folder to begin again, or \
         choose another output)"
    )]
    OtherJob {
        /// The folder.
        folder: PathBuf,
    },
    /// A part is not what was written.
    #[error(
        "go on with `{path}`: expected the file that was written, found another (hint: remove its \
         folder to begin again)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It was asked to stop.
    #[error("stopped; what was done is in `{folder}` (hint: run the same again to go on)")]
    Stopped {
        /// The folder.
        folder: PathBuf,
    },
}
