//! What can go wrong with a weight file, and what to do about it.

mod fault;
mod model;
mod writing;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use fault::{Fault, Item, ParseError};
pub use model::ModelError;
pub use writing::WriteError;

use crate::dtype::Dtype;

/// Reading or writing a checkpoint failed.
///
/// Each text says what was expected, what was found and what to do, and reads after "failed to ...".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The system refused to read.
    #[error("read checkpoint `{path}` (hint: is the path right? `firebox pull` fetches a model)")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused to write.
    #[error("write `{path}` (hint: is the disk full, or the directory read-only?)")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The bytes are neither safetensors nor GGUF.
    #[error(
        "read checkpoint `{path}`: expected a Hugging Face directory, a `.safetensors` or a \
         `.gguf` file, found a file that starts with {found:02x?} (hint: is it a model at all?)"
    )]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// Its first bytes, at most eight.
        found: Vec<u8>,
    },
    /// A pickled PyTorch file, which can run any code when it is loaded.
    #[error(
        "read checkpoint `{path}`: expected safetensors or GGUF, found a pickled PyTorch file, \
         which may run any code when loaded and is never opened here (hint: take the \
         `.safetensors` of the same model, or convert it where you trust it: \
         `safetensors.torch.save_file(torch.load(path, weights_only=True), \"model.safetensors\")`)"
    )]
    Pickled {
        /// The file.
        path: PathBuf,
    },
    /// A directory lacks a file.
    #[error("read checkpoint `{dir}`: expected {expected}, found {} (hint: {hint})", listing(.found))]
    MissingFile {
        /// The directory.
        dir: PathBuf,
        /// The file that is needed.
        expected: &'static str,
        /// The files that are there.
        found: Vec<String>,
        /// What to do.
        hint: &'static str,
    },
    /// The bytes of a safetensors or GGUF file break the format's rules.
    #[error("read `{path}`: {error}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: Box<ParseError>,
    },
    /// A JSON file does not parse.
    #[error("read `{path}`: expected JSON of the right form (hint: fetch the file again)")]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        #[source]
        source: serde_json::Error,
    },
    /// A side file is far larger than any real one.
    #[error(
        "read `{path}`: expected at most {limit} bytes, found {found} (hint: fetch the file again)"
    )]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
        /// Its size.
        found: u64,
    },
    /// The shard index names a file outside the directory.
    #[error(
        "read `{path}`: tensor `{name}`: expected the plain name of a `.safetensors` file beside \
         the index, found `{found}` (hint: the index is damaged or forged; fetch it again)"
    )]
    ShardName {
        /// The index.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The name it gives.
        found: String,
    },
    /// The file changed after it was opened.
    #[error(
        "read `{path}`: expected the file as it was when opened, found another size or time \
         (hint: something is writing to it; open it again when that is done)"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// No tensor of that name.
    #[error("load tensor `{name}`: expected it in `{path}`, found {} (hint: {})", near_text(.near), "does the config fit this checkpoint?")]
    MissingTensor {
        /// The name that was asked for.
        name: String,
        /// The checkpoint.
        path: PathBuf,
        /// Names that look like it.
        near: Vec<String>,
    },
    /// A tensor has another shape than its place needs.
    #[error(
        "load tensor `{name}`: expected shape {expected:?}, found {found:?} in `{path}` \
         (hint: do the sizes in `config.json`, above all `num_key_value_heads`, fit this checkpoint?)"
    )]
    ShapeMismatch {
        /// The tensor.
        name: String,
        /// The shape that fits.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
        /// The checkpoint.
        path: PathBuf,
    },
    /// A tensor's dtype cannot be used as weights.
    #[error(
        "load tensor `{name}`: expected a dtype of F32, F16, BF16 or F64, found {found} in `{path}` \
         (hint: this may be a model quantized by another tool; take its unquantized version)"
    )]
    WrongDtype {
        /// The tensor.
        name: String,
        /// Its dtype.
        found: Dtype,
        /// The checkpoint.
        path: PathBuf,
    },
    /// A weight is infinite or not a number.
    #[error(
        "convert tensor `{name}`: expected finite values, found {value} at index {index} \
         (hint: the checkpoint is damaged, or its training diverged)"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// Row-major position.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A weight is too large for the dtype that was asked for.
    #[error(
        "convert tensor `{name}`: expected values within the range of {dtype}, found {value} at \
         index {index} (hint: use `bf16` or `f32`)"
    )]
    Overflow {
        /// The tensor.
        name: String,
        /// Row-major position.
        index: usize,
        /// The value.
        value: f32,
        /// The dtype that cannot hold it.
        dtype: Dtype,
    },
    /// See [`ModelError`].
    #[error(transparent)]
    Model(#[from] ModelError),
    /// See [`WriteError`].
    #[error(transparent)]
    Writing(#[from] WriteError),
}

impl CheckpointError {
    pub(crate) fn malformed(path: &Path, error: ParseError) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            error: Box::new(error),
        }
    }
}

/// Text from a file, made fit to print.
pub(crate) fn tame(text: &str) -> String {
    fault::Tame(text).to_string()
}

fn listing(found: &[String]) -> String {
    if found.is_empty() {
        "nothing".to_owned()
    } else {
        format!("`{}`", found.join("`, `"))
    }
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        "no name like it".to_owned()
    } else {
        format!("names like it: `{}`", near.join("`, `"))
    }
}
