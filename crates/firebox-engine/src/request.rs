//! What an engine is asked for.

use std::sync::Arc;
use std::time::Duration;

use firebox_model::{GenerateConfig, HostAdapter, LlamaConfig};

use crate::error::EngineError;
use crate::grammar::Grammar;

/// A prompt to be continued.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt.
    pub prompt_ids: Vec<u32>,
    /// How tokens are drawn, and what ends the answer. With `max_new_tokens` 0 only the prompt is
    /// read.
    pub generate: GenerateConfig,
    /// What is beside the model's weights, loaded by [`TextEngine::load_adapter`]. Requests with
    /// different ones are computed in one batch.
    ///
    /// [`TextEngine::load_adapter`]: crate::TextEngine::load_adapter
    pub adapter: Option<Arc<HostAdapter>>,
    /// What the answer must look like. It may still be cut by a limit; what ends by itself is whole.
    pub grammar: Option<Grammar>,
    /// Neither an end token nor a stop text ends the answer before so many tokens, unless a
    /// grammar does.
    pub min_tokens: usize,
    /// For each new token the logarithm of its probability, and the likeliest others, so many.
    pub logprobs: Option<usize>,
    /// The same for the tokens of the prompt after the first.
    pub prompt_logprobs: Option<usize>,
    /// Whose request it is: those who had least are served first.
    pub tenant: Arc<str>,
    /// Higher comes first, whoever asks.
    pub priority: i32,
    /// The answer must be finished in this time. Of a tenant's requests the one that is late first is
    /// served first.
    pub time_limit: Option<Duration>,
    /// Only requests of one salt share what is in the prefix cache.
    pub cache_salt: u64,
    /// Whether what this request computes may be found by later ones, and what others computed by it.
    pub use_prefix_cache: bool,
}

impl Request {
    /// A request of nobody in particular.
    pub fn new(prompt_ids: Vec<u32>, generate: GenerateConfig) -> Self {
        Self {
            prompt_ids,
            generate,
            adapter: None,
            grammar: None,
            min_tokens: 0,
            logprobs: None,
            prompt_logprobs: None,
            tenant: Arc::from(""),
            priority: 0,
            time_limit: None,
            cache_salt: 0,
            use_prefix_cache: true,
        }
    }

    /// # Errors
    /// For prompts that are empty, too long or not of the vocabulary, and adapters of other models.
    pub(crate) fn check(&self, model: &LlamaConfig) -> Result<(), EngineError> {
        let (n_prompt_tokens, max_seq_len) = (self.prompt_ids.len(), model.max_seq_len);
        if n_prompt_tokens == 0 {
            return Err(EngineError::EmptyPrompt);
        }
        // A prompt that is only read may fill the context.
        let n_wanted = n_prompt_tokens + usize::from(self.generate.max_new_tokens > 0);
        if n_wanted > max_seq_len {
            return Err(EngineError::ContextLength {
                n_prompt_tokens,
                max_seq_len,
            });
        }
        let fits = self.adapter.as_ref().map(|adapter| adapter.check(model));
        fits.unwrap_or(Ok(())).map_err(EngineError::Request)?;
        model
            .check_ids(&self.prompt_ids)
            .map_err(EngineError::Request)
    }
}
