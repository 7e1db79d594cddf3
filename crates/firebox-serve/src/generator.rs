//! The seam between HTTP and a model: one trait, and the plain values that cross it.

use std::{error, ops::ControlFlow};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What the model is to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text taken as it is, without a chat template.
    Text(String),
    /// A conversation, to be written out by the model's chat template.
    Chat(Vec<ChatMessage>),
}

/// A checked request: every number is in its range when a generator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// Upper bound on new tokens; `None` means up to the end of the context.
    pub max_tokens: Option<usize>,
    /// 0 is greedy; otherwise logits are divided by it.
    pub temperature: f32,
    /// Keep the smallest set of tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f32,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep tokens at least this fraction as likely as the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen so far; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Seed of the sampling. Never absent: the server draws (and logs) one where the client sent
    /// none, so that any answer can be asked for again.
    pub seed: u64,
    /// Texts that end the answer and are left out of it.
    pub stop: Vec<String>,
}

/// A prompt as token ids, checked against the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The whole prompt, template included.
    pub prompt_ids: Vec<u32>,
}

impl Prepared {
    /// Length of the prompt.
    pub fn n_prompt_tokens(&self) -> usize {
        self.prompt_ids.len()
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token or a stop text.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
    /// `on_text` asked for it.
    Cancelled,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// New tokens, an end token included.
    pub completion_tokens: usize,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The prompt leaves no room for an answer. HTTP 400, code `context_length_exceeded`.
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
    /// The prompt has no tokens. HTTP 400.
    #[error("expected a prompt of at least one token, found an empty one")]
    EmptyPrompt,
    /// A conversation was sent to a model without a chat template. HTTP 400.
    #[error(
        "expected a model with a chat template, found none in `{model}` (hint: use `/generate`)"
    )]
    NoChatTemplate {
        /// The model asked.
        model: String,
    },
    /// The chat template refused the conversation, or the tokenizer the text. HTTP 400.
    #[error("the prompt cannot be encoded: {reason}")]
    Prompt {
        /// What the template or the tokenizer said. It is shown to the client.
        reason: Box<dyn error::Error + Send + Sync>,
    },
    /// The model failed. HTTP 500; the source goes to the log and not to the client.
    #[error("the model failed to generate")]
    Failed {
        /// What went wrong.
        #[source]
        source: Box<dyn error::Error + Send + Sync>,
    },
}

/// Something that continues text: the model, seen from the server.
///
/// Both methods block; the server calls them on threads made for blocking, `generate` on at most
/// [`max_concurrent`](crate::ServerConfig::max_concurrent) of them at a time.
pub trait TextGenerator: Send + Sync + 'static {
    /// Name under which the model is listed.
    fn model_id(&self) -> &str;

    /// Writes out the prompt, tokenizes it and checks it against the context. Cheap.
    ///
    /// # Errors
    ///
    /// When the prompt is empty, too long or cannot be encoded.
    fn prepare(&self, request: &GenerateRequest) -> Result<Prepared, GenerateError>;

    /// Generates, handing over the text as it comes.
    ///
    /// Calls `on_text` after **every** token, with the text that the token completes: an empty one
    /// where it completes none (half a character, the start of what may be a stop text). Calls it
    /// with an empty text now and then while it reads a long prompt, too. Ends with
    /// [`FinishReason::Cancelled`] as soon as `on_text` breaks. The pieces concatenate to the answer.
    ///
    /// # Errors
    ///
    /// When the model fails.
    fn generate(
        &self,
        prepared: &Prepared,
        request: &GenerateRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Finished, GenerateError>;
}
