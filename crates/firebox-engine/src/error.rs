//! What an engine refuses, and how it fails.

use std::time::Duration;

use firebox_model::ModelError;

/// A request cannot be answered, or an engine cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A setting is impossible.
    #[error("engine setting `{field}`: expected {expected}, found {found}")]
    Config {
        /// The setting.
        field: &'static str,
        /// What would have been accepted.
        expected: String,
        /// What was given.
        found: String,
    },
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
    /// The prompt has no tokens.
    #[error("expected a prompt of at least one token, found an empty one")]
    EmptyPrompt,
    /// The prompt leaves no room for an answer.
    #[error(
        "expected a prompt of at most {} tokens (the context of {max_seq_len}, less one for the \
         answer), found {n_prompt_tokens} (hint: shorten the prompt or drop old messages)",
        max_seq_len.saturating_sub(1)
    )]
    ContextLength {
        /// Tokens in the prompt.
        n_prompt_tokens: usize,
        /// The model's context.
        max_seq_len: usize,
    },
    /// A value of the request is out of its range, or an id is not in the vocabulary.
    #[error(transparent)]
    Request(ModelError),
    /// An adapter cannot be used with this model.
    #[error(transparent)]
    Adapter(ModelError),
    /// The model is on a device where adapters are not changed while it serves.
    #[error(
        "expected a model on the CPU for adapters of single requests, found one on another device (hint: \
         serve it with `--device cpu`, or with one `--adapter` for all)"
    )]
    NoAdapters,
    /// A grammar cannot be used.
    #[error("the grammar cannot be used: {reason}")]
    Grammar {
        /// What the parser said.
        reason: String,
    },
    /// Too many requests wait.
    #[error("{max_waiting} requests wait already (hint: try again later)")]
    QueueFull {
        /// How many may.
        max_waiting: usize,
    },
    /// The request's time was over before its answer was.
    #[error("the answer was not finished within {} s", limit.as_secs_f32())]
    Deadline {
        /// The time it had.
        limit: Duration,
    },
    /// The model computed no number.
    #[error("the model failed: {0}")]
    Model(ModelError),
    /// The engine panicked while it computed this request. It goes on with others.
    #[error("the engine failed while it computed this request")]
    Panicked,
    /// The engine was stopped.
    #[error("the engine is shutting down")]
    Stopped,
}
