//! The engine's settings.

use firebox_model::{HostBlocks, LlamaConfig};

use crate::error::EngineError;

/// How an engine schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// The most sequences that are computed at once.
    pub max_sequences: usize,
    /// The most tokens that one step computes: what a long prompt may keep others waiting for.
    pub max_batch_tokens: usize,
    /// The most requests that wait; further ones are refused.
    pub max_waiting: usize,
    /// Tokens that the KV cache holds, of all sequences together. A request's whole context must fit.
    pub cache_tokens: usize,
    /// Whether texts are kept for later requests that begin with them.
    pub prefix_cache: bool,
    /// Guesses tokens from what the text said before; see [`Speculation`].
    pub speculation: Option<Speculation>,
}

/// Prompt lookup: where the last tokens stood in the text before, what followed there is guessed and
/// computed along. Tokens are drawn as without it, so the answer is the same; a guess that was right
/// saves a step.
///
/// Source: Saxena (2023), <https://github.com/apoorvumang/prompt-lookup-decoding>; verification:
/// Leviathan et al. (2023), algorithm 1, <https://arxiv.org/abs/2211.17192>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speculation {
    /// The longest run of last tokens that is looked for, down to two.
    pub max_ngram: usize,
    /// The most tokens that are guessed for a sequence at a time.
    pub max_draft: usize,
    /// Rows of a step, beside prompts, up to which guesses are worth their work.
    pub max_rows: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_sequences: 32,
            max_batch_tokens: 256,
            max_waiting: 256,
            cache_tokens: 16_384,
            prefix_cache: true,
            speculation: None,
        }
    }
}

impl Default for Speculation {
    fn default() -> Self {
        Self {
            max_ngram: 4,
            max_draft: 4,
            max_rows: 8,
        }
    }
}

impl EngineConfig {
    pub(crate) fn max_blocks(&self) -> usize {
        self.cache_tokens / HostBlocks::TOKENS
    }

    /// # Errors
    /// [`EngineError::Config`].
    pub(crate) fn check(&self, model: &LlamaConfig) -> Result<(), EngineError> {
        let wrong = |field, expected: String, found: usize| {
            let found = found.to_string();
            Err(EngineError::Config {
                field,
                expected,
                found,
            })
        };
        let at_least_1 = || "at least 1".to_owned();
        if self.max_sequences == 0 {
            return wrong("max_sequences", at_least_1(), 0);
        }
        if self.max_batch_tokens < self.max_sequences {
            let expected = format!("at least `max_sequences`, {}", self.max_sequences);
            return wrong("max_batch_tokens", expected, self.max_batch_tokens);
        }
        if self.max_blocks() < model.max_seq_len.div_ceil(HostBlocks::TOKENS) {
            let expected = format!(
                "room for one whole context, {} tokens in blocks of {}",
                model.max_seq_len,
                HostBlocks::TOKENS
            );
            return wrong("cache_tokens", expected, self.cache_tokens);
        }
        match self.speculation {
            Some(Speculation {
                max_ngram: 0 | 1, ..
            }) => wrong("max_ngram", "at least 2".to_owned(), 1),
            Some(Speculation { max_draft: 0, .. }) => wrong("max_draft", at_least_1(), 0),
            _ => Ok(()),
        }
    }
}
