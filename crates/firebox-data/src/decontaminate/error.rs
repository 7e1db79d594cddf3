//! What decontamination can report.

use std::path::PathBuf;

use crate::error::DataError;

/// Everything that can go wrong before a document can be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecontaminateError {
    /// A setting outside its range.
    #[error(
        "read `{field}` of [decontaminate]: expected {least} to {most}, found {found} (hint: \
         correct the recipe)"
    )]
    Setting {
        /// The setting.
        field: &'static str,
        /// The least it may be.
        least: usize,
        /// The most it may be.
        most: usize,
        /// What it is.
        found: usize,
    },
    /// An evaluation set cannot be read.
    #[error("read the evaluation set `{path}` (hint: correct `against` of [decontaminate])")]
    Read {
        /// The file, folder or glob.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<DataError>,
    },
    /// More evaluation records than a record number can count.
    #[error(
        "read the evaluation set `{path}`: expected at most {limit} records in all sets together, \
         found more (hint: is this an evaluation set?)"
    )]
    TooManyRecords {
        /// The set.
        path: PathBuf,
        /// The limit.
        limit: u32,
    },
}
