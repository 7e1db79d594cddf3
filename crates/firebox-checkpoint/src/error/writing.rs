//! Wrong use of the writers, and targets that must not be overwritten.

use std::path::PathBuf;

use crate::dtype::Dtype;

/// What was to be written does not fit the plan or the target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The target directory has files that the new one would delete.
    #[error(
        "write `{path}`: expected a new directory or one with the same files, found `{extra}` in it, which would be lost (hint: choose another path, or remove the directory first)"
    )]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// A file that would be lost.
        extra: String,
    },
    /// A path that cannot be a target.
    #[error(
        "write `{path}`: expected a path that ends in a name, found none (hint: give the new file or directory a name)"
    )]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// A tensor declared twice.
    #[error("declare tensor `{name}`: expected each name once, found it twice")]
    DeclaredTwice {
        /// The tensor.
        name: String,
    },
    /// A declaration after the first tensor was written.
    #[error(
        "declare tensor `{name}`: expected all declarations before the first tensor is written (hint: declare every tensor, then write)"
    )]
    DeclaredLate {
        /// The tensor.
        name: String,
    },
    /// A tensor that was not declared.
    #[error(
        "write tensor `{name}`: expected a declaration of it, found none (hint: declare every tensor, then write)"
    )]
    NotDeclared {
        /// The tensor.
        name: String,
    },
    /// A tensor written twice.
    #[error("write tensor `{name}`: expected it once, found it twice")]
    WrittenTwice {
        /// The tensor.
        name: String,
    },
    /// Another number of values or bytes than declared.
    #[error("write tensor `{name}`: expected {expected} {unit}, found {found}")]
    Length {
        /// The tensor.
        name: String,
        /// `values` or `bytes`.
        unit: &'static str,
        /// As declared.
        expected: usize,
        /// As given.
        found: usize,
    },
    /// A dtype in which weights are not written.
    #[error("declare tensor `{name}`: expected a dtype of F32, F16 or BF16, found {found}")]
    Dtype {
        /// The tensor.
        name: String,
        /// As given.
        found: Dtype,
    },
    /// A shape with more bytes than can be addressed.
    #[error(
        "declare tensor `{name}`: expected a shape whose bytes can be addressed, found {shape:?}"
    )]
    TooLarge {
        /// The tensor.
        name: String,
        /// As given.
        shape: Vec<usize>,
    },
    /// Declared tensors that were never written.
    #[error(
        "finish `{path}`: expected every declared tensor to be written, found {n_missing} missing, the first `{first}`"
    )]
    NotWritten {
        /// The directory.
        path: PathBuf,
        /// How many.
        n_missing: usize,
        /// The first of them.
        first: String,
    },
    /// No config was given.
    #[error("finish `{path}`: expected a model config, found none (hint: call `set_config`)")]
    NoConfig {
        /// The directory.
        path: PathBuf,
    },
    /// A model that has no place in a GGUF file.
    #[error(
        "write GGUF: {what}: expected {expected}, found {found} (hint: a Hugging Face directory holds every model; `quantize --format q4_0` and its like make weights that GGUF has)"
    )]
    NoGguf {
        /// The part of the model.
        what: String,
        /// What would have a place.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A packed tensor that differs from its declaration.
    #[error("write packed tensor `{name}`: expected `{expected}`, found `{found}`")]
    PackedDiffers {
        /// The tensor.
        name: String,
        /// Format and shape, as declared.
        expected: String,
        /// Format and shape, as given.
        found: String,
    },
}
