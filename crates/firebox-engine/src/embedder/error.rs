//! Why texts cannot be embedded.

use std::path::PathBuf;

use firebox_checkpoint::CheckpointError;
use firebox_data::DataError;
use firebox_model::ModelError;

/// An embedding model could not be loaded, or a text not embedded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// A file of the model's folder cannot be used.
    #[error("read the embedding model `{}`: {what} (hint: {hint})", path.display())]
    File {
        /// The file, or the folder where it was expected.
        path: PathBuf,
        /// What was expected and found.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The encoder cannot be built, or refuses an id.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer cannot be read, or has no token for a part of a text.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The tokenizer has ids without a row in the embedding.
    #[error(
        "expected a tokenizer of at most {model} tokens (the model's embedding), found {tokenizer} \
         (hint: is this the tokenizer of the checkpoint?)"
    )]
    VocabSize {
        /// Rows of the embedding.
        model: usize,
        /// Ids of the tokenizer.
        tokenizer: usize,
    },
    /// A text is longer than the model reads.
    #[error(
        "text {index}: expected at most {max_tokens} tokens, found {n_tokens} (hint: split or cut it)"
    )]
    TooLong {
        /// Which of the texts, the first is 0.
        index: usize,
        /// Its tokens, special ones counted.
        n_tokens: usize,
        /// What the model reads.
        max_tokens: usize,
    },
}
