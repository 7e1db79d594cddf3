//! What can go wrong between a checkpoint and a running model.

use firebox_checkpoint::CheckpointError;

/// A model could not be built, loaded or adapted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// `config.json` lacks a field or holds a value that no decoder can have.
    #[error(
        "read the model config: field `{field}`: expected {expected}, found {found} (hint: {hint})"
    )]
    Config {
        /// The field's name in `config.json`.
        field: &'static str,
        /// What would have been accepted.
        expected: String,
        /// What stands there.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A tensor of the checkpoint has another shape than the config asks for.
    #[error(
        "load tensor `{name}`: expected shape {expected:?}, found {found:?} (hint: does `{field}` in config.json match the checkpoint?)"
    )]
    ShapeMismatch {
        /// The tensor's name.
        name: String,
        /// The shape that the config implies.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
        /// The config field that most likely is wrong.
        field: &'static str,
    },
    /// The weights could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A weight cannot be packed in the format that was asked for.
    #[error("pack weight `{name}` (hint: choose another form of the weights)")]
    Pack {
        /// The weight.
        name: String,
        /// Why.
        #[source]
        source: firebox_tensor::packed::PackError,
    },
    /// A LoRA config does not fit the model.
    #[error("attach LoRA: {what} (hint: {hint})")]
    Lora {
        /// Expected and found.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A region of autocast names no module.
    #[error(
        "autocast in `{module}`: expected a linear layer or `lm_head`, found none of that name (hint: a last \
         name such as `down_proj`, or a pattern over the whole one such as `model.layers.0.*`)"
    )]
    Region {
        /// What was to be a region.
        module: String,
    },
    /// A head does not fit its decoder, its labels or its targets.
    #[error("use a head: {what} (hint: {hint})")]
    Head {
        /// What was expected and found.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A sampling or generation setting is outside its range.
    #[error("`{field}`: expected {expected}, found {found}")]
    Sampling {
        /// The setting's name.
        field: &'static str,
        /// The accepted range.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// The prompt and what it asks for do not fit the context.
    #[error(
        "the prompt has {prompt_tokens} tokens, but the model's context holds {max_seq_len} (hint: shorten the prompt)"
    )]
    PromptTooLong {
        /// Tokens in the prompt.
        prompt_tokens: usize,
        /// The model's context length.
        max_seq_len: usize,
    },
    /// The model computed logits of which none is a number.
    #[error(
        "generate: expected finite logits, found none (hint: are the weights damaged, or was the model trained until it diverged?)"
    )]
    NonFiniteLogits,
    /// A token id lies outside the vocabulary.
    #[error(
        "token id {id} is outside the model's vocabulary of {vocab_size} (hint: is this the tokenizer of the checkpoint?)"
    )]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// The size of the embedding.
        vocab_size: usize,
    },
    /// No token of a batch has a label.
    #[error(
        "compute the loss: expected at least one token with a label, found none (hint: were all answers cut off or masked?)"
    )]
    NoLabels,
    /// There is nothing to compute on.
    #[error("the {what} is empty: expected at least one token")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
}
