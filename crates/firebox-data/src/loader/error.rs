//! What can go wrong while batches are loaded.

use crate::PackingError;
use crate::error::Source;

/// Everything that the loader can report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// Nothing to load from.
    #[error("make a loader: expected at least one source, found none (hint: add a corpus)")]
    NoSources,
    /// More sources than the mixture can count.
    #[error(
        "mix sources: expected at most {limit}, found {n_sources} (hint: join the small ones into \
         one)"
    )]
    TooManySources {
        /// Sources given.
        n_sources: usize,
        /// The limit.
        limit: usize,
    },
    /// A weight that is not a positive number.
    #[error(
        "mix sources: expected a weight above 0 for source {index}, found {weight} (hint: leave a \
         source out to mute it)"
    )]
    BadWeight {
        /// Index of the source.
        index: usize,
        /// Its weight.
        weight: f64,
    },
    /// A source without examples.
    #[error(
        "make a loader: expected examples in source `{name}`, found none (hint: is the corpus empty, \
         or shorter than one block?)"
    )]
    EmptySource {
        /// The source.
        name: String,
    },
    /// Two sources with one name.
    #[error(
        "make a loader: expected a name of its own for each source, found `{name}` twice (hint: \
         states are saved by name)"
    )]
    SameName {
        /// The name.
        name: String,
    },
    /// A setting out of its range.
    #[error(
        "make a loader: expected `{name}` {expected}, found {found} (hint: set it in the config)"
    )]
    BadSetting {
        /// The setting.
        name: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        found: usize,
    },
    /// The settings do not make rows, or an example does not.
    #[error("make rows of examples")]
    Packing(#[from] PackingError),
    /// A source could not give an example.
    #[error("load example {index} of source `{name}`")]
    Example {
        /// The source.
        name: String,
        /// Index of the example.
        index: usize,
        /// What the source says.
        #[source]
        source: Source,
    },
    /// No example makes a row.
    #[error(
        "load a batch: expected a row within one pass over the sources, found none in {n_examples} \
         examples (hint: does the truncation drop every example, or does none have loss?)"
    )]
    NoRows {
        /// Examples looked at.
        n_examples: u64,
    },
    /// A state that was saved over other data.
    #[error(
        "resume the loader: expected source `{name}` with {expected}, found {found} (hint: resume \
         with the files that the state was saved over, or begin anew)"
    )]
    OtherSource {
        /// The source.
        name: String,
        /// What the state says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A state that was saved over other sources.
    #[error(
        "resume the loader: expected the sources {expected}, found {found} (hint: give them in the \
         order in which the state was saved)"
    )]
    OtherSources {
        /// Names in the state.
        expected: String,
        /// Names given.
        found: String,
    },
    /// A state of another version of the loader.
    #[error(
        "resume the loader: expected a state of version {expected}, found {found} (hint: resume with \
         the program that saved it, or begin anew)"
    )]
    StateVersion {
        /// This version.
        expected: u32,
        /// The state's.
        found: u32,
    },
    /// A state that points behind the rows of its chunk.
    #[error(
        "resume the loader at row {row} of chunk {chunk}: expected a row up to {n_rows}, as many as \
         the chunk has (hint: was the state edited? begin anew)"
    )]
    StatePlace {
        /// The state's chunk.
        chunk: u64,
        /// The state's row.
        row: usize,
        /// Rows in that chunk.
        n_rows: usize,
    },
    /// A thread could not be started.
    #[error("start prefetch thread {worker} (hint: lower `n_workers`)")]
    Spawn {
        /// Index of the thread.
        worker: usize,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A source panicked.
    #[error("load chunk {chunk}: the source panicked with `{message}` (hint: this is a bug in it)")]
    Panicked {
        /// The chunk that was being loaded.
        chunk: u64,
        /// What it said.
        message: String,
    },
    /// A prefetch thread is gone without a word.
    #[error(
        "load chunk {chunk}: its prefetch thread has ended (hint: this is a bug in firebox-data)"
    )]
    WorkerGone {
        /// The chunk that was waited for.
        chunk: u64,
    },
}
