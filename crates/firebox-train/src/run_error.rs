//! What can go wrong with a run's folder.

use std::{io, path::PathBuf};

use firebox_checkpoint::CheckpointError;

use crate::optimizer_state::StateError;

/// A run's folder cannot be written, or does not fit the run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The system refused to read.
    #[error("read `{path}` of the run (hint: is it there, and may you read it?)")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused to write.
    #[error(
        "write `{path}` of the run (hint: is the disk full, or the directory read-only? the last \
         checkpoint is whole: make room and resume)"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A tensor file cannot be written or read.
    #[error(transparent)]
    Tensors(#[from] CheckpointError),
    /// A JSON file does not parse.
    #[error(
        "read `{path}`: expected JSON of the right form (hint: the file was changed after the \
         run wrote it; resume from an older checkpoint by deleting this one)"
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        #[source]
        source: serde_json::Error,
    },
    /// A line of the metrics does not parse.
    #[error(
        "read `{path}`: line {line}: expected a metric as JSON (hint: the file was changed after \
         the run wrote it; delete the line)"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The checkpoint is of another version.
    #[error(
        "read checkpoint `{path}`: expected version {expected}, found {found} \
         (hint: resume with the program that wrote it)"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that is understood.
        expected: u32,
        /// The version that it has.
        found: u32,
    },
    /// Another process writes into the folder.
    #[error(
        "open run `{path}`: expected to be alone, found another process that writes into it \
         (hint: wait for it, or choose another folder)"
    )]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A fresh run was to begin where one is already.
    #[error(
        "start run in `{path}`: expected an empty folder, found checkpoints up to step {last_step} \
         (hint: resume the run, or choose another folder)"
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// The newest checkpoint.
        last_step: usize,
    },
    /// The run that is resumed was started with other settings.
    #[error(
        "resume run `{path}`: `{field}`: expected {expected}, as the run was started, found {found} \
         (hint: a resumed run goes on as it was; start a new run to change a setting)"
    )]
    ConfigDiffers {
        /// The checkpoint.
        path: PathBuf,
        /// The first setting that is different.
        field: String,
        /// In the checkpoint.
        expected: String,
        /// Now.
        found: String,
    },
    /// The data are not those that the run has seen.
    #[error(
        "resume from `{path}`: expected the batch of step {step} as the run saw it, found another \
         one (hint: are seed, files and order those of the run? a new run takes new data)"
    )]
    DataDiffers {
        /// The checkpoint.
        path: PathBuf,
        /// The step.
        step: usize,
    },
    /// The model has other parameters than the checkpoint.
    #[error(
        "resume from `{dir}`: expected {n_expected} trainable parameters, found {n_found}{}{} \
         (hint: is this the model, the adapter and the mode that the run was started with?)",
        Named(" in the checkpoint; it lacks", .missing),
        Named("; the model lacks", .stray)
    )]
    Params {
        /// The checkpoint.
        dir: PathBuf,
        /// In the model.
        n_expected: usize,
        /// In the checkpoint.
        n_found: usize,
        /// A parameter that only the model has.
        missing: Option<String>,
        /// A parameter that only the checkpoint has.
        stray: Option<String>,
    },
    /// A parameter has another shape in the checkpoint.
    #[error(
        "resume from `{dir}`: `{name}`: expected shape {expected:?}, found {found:?} \
         (hint: is this the model that the run was started with?)"
    )]
    Shape {
        /// The checkpoint.
        dir: PathBuf,
        /// The parameter.
        name: String,
        /// In the model.
        expected: Vec<usize>,
        /// In the checkpoint.
        found: Vec<usize>,
    },
    /// The optimizer cannot take up the state of a parameter.
    #[error("resume from `{dir}`: take up the optimizer's state of `{name}`")]
    Optimizer {
        /// The checkpoint.
        dir: PathBuf,
        /// The parameter.
        name: String,
        /// Why.
        #[source]
        source: StateError,
    },
    /// The source of batches cannot go to where it was.
    #[error("resume from `{dir}`: put the data back to where it was")]
    Batches {
        /// The checkpoint.
        dir: PathBuf,
        /// Why.
        #[source]
        source: crate::error::BatchError,
    },
}

/// A name after its introduction, if there is one.
struct Named<'a>(&'static str, &'a Option<String>);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.1 {
            Some(name) => write!(formatter, "{} `{name}`", self.0),
            None => Ok(()),
        }
    }
}
