//! What can go wrong between an input URL and an output URL.

use datafusion::error::DataFusionError;

/// Everything that running a recipe on an engine can report.
///
/// Each text says what was expected, what was found and what to do; the cause, where there is one, is
/// the [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A URL or path does not parse.
    #[error(
        "read the URL `{url}`: expected a local path, file:///.. or s3://bucket/.., found one that \
         does not parse ({reason})"
    )]
    BadUrl {
        /// What was given.
        url: String,
        /// Where it breaks.
        reason: String,
    },
    /// A URL of a store that this process was not given.
    #[error(
        "open `{url}`: expected a store that this process knows, found none for its scheme and \
         host (hint: add it to `Stores`, in the scheduler and in each executor too)"
    )]
    UnknownStore {
        /// The URL.
        url: String,
    },
    /// A store refuses, or its settings are wrong.
    #[error("use `{url}` (hint: are the endpoint, the keys and the path right?)")]
    Store {
        /// The store or file.
        url: String,
        /// The store's reason.
        #[source]
        source: object_store::Error,
    },
    /// No input file.
    #[error(
        "find data at `{url}`: expected at least one .jsonl or .parquet file (.jsonl also with .gz \
         or .zst), found none (hint: check the URL)"
    )]
    NoFiles {
        /// What was asked for.
        url: String,
    },
    /// A file's name says nothing about its format.
    #[error(
        "choose a format for `{url}`: expected a name ending in .jsonl, .jsonl.gz, .jsonl.zst or \
         .parquet (hint: rename the file)"
    )]
    UnknownExtension {
        /// The file.
        url: String,
    },
    /// More files than documents' numbers can count.
    #[error(
        "list the input: expected at most {max_files} files, found {n_files} (hint: join some)"
    )]
    TooManyFiles {
        /// Files found.
        n_files: usize,
        /// The limit.
        max_files: usize,
    },
    /// The output is not empty.
    #[error(
        "write to `{url}`: expected an empty place, found `{found}` (hint: remove it, or choose \
         another output)"
    )]
    OutputExists {
        /// The output.
        url: String,
        /// What is there.
        found: String,
    },
    /// A setting that cannot work.
    #[error("start the engine: expected `{name}` {expected}, found {found}")]
    BadSetting {
        /// The setting.
        name: &'static str,
        /// What it can be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A setting of the recipe that only one machine can follow.
    #[error(
        "run the recipe on an engine: expected `{setting}` of {expected}, found {found} (hint: leave \
         it out, or run the recipe on one machine)"
    )]
    Unsupported {
        /// The setting.
        setting: &'static str,
        /// What it can be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The recipe's rules make no sense.
    #[error(transparent)]
    Rules(#[from] firebox_data::filter::FilterError),
    /// More records are broken than the limit allows.
    #[error(
        "read the input: expected at most {allowed} to be broken, found {n_broken} of {n_records}; \
         the first: {first} (hint: mend the input, or raise the limit)"
    )]
    TooManyBroken {
        /// What the limit is.
        allowed: String,
        /// Records that could not be read.
        n_broken: u64,
        /// Records.
        n_records: u64,
        /// What is wrong with the first.
        first: String,
    },
    /// The clusters of duplicates did not settle.
    #[error(
        "join duplicates into clusters: expected no more changes after {n_rounds} rounds, found \
         {n_changed} (hint: raise `max_rounds`)"
    )]
    NotConverged {
        /// Rounds done.
        n_rounds: u32,
        /// Labels that the last round changed.
        n_changed: u64,
    },
    /// A node of a cluster cannot be reached, or stopped.
    #[error("{step} (hint: is the address right, the port free, and the scheduler running?)")]
    Network {
        /// What was being done.
        step: &'static str,
        /// The system's or Ballista's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine stopped.
    #[error("{step} (hint: the cause names the file or the limit)")]
    Engine {
        /// What was being done.
        step: &'static str,
        /// The engine's reason.
        #[source]
        source: Box<DataFusionError>,
    },
}

impl ClusterError {
    /// Says what was being done when the engine stopped.
    pub(crate) fn engine(step: &'static str) -> impl Fn(DataFusionError) -> Self {
        move |source| Self::Engine {
            step,
            source: Box::new(source),
        }
    }
}
