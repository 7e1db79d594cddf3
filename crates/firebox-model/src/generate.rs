//! Generation as an iterator.

use burn::tensor::Tensor;
use firebox_tensor::kernels::in_pool;

use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::linear::host_f32;
use crate::llama::Llama;
use crate::sampling::{Sampler, SamplingConfig};
use crate::stop::StopMatcher;

/// Prompt tokens computed in one pass; bounds the memory of a long prompt.
pub(crate) const PREFILL_CHUNK: usize = 512;

/// What to generate, and when to end.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateConfig {
    /// How tokens are drawn.
    pub sampling: SamplingConfig,
    /// The most tokens to generate; the context may end it earlier.
    pub max_new_tokens: usize,
    /// Ids that end the text. They are reported, without text.
    pub eos_ids: Vec<u32>,
    /// Texts that end the generation; they are cut off, also when they span tokens.
    pub stop: Vec<String>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token or a stop string.
    Stop,
    /// The limit of tokens, or the end of the context.
    Length,
    /// The model computed no finite logit: an error, [`ModelError::NonFiniteLogits`].
    NonFinite,
}

/// One generated token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedToken {
    /// Its id.
    pub id: u32,
    /// Text that became certain with it; may be empty (half a character, or the possible beginning
    /// of a stop string) or hold the text of earlier tokens too.
    pub text: String,
}

/// A running generation: an iterator of tokens. Dropping it ends it.
pub struct Generation<'a, D> {
    model: &'a Llama,
    cache: KvCache,
    sampler: Sampler,
    stops: StopMatcher,
    config: GenerateConfig,
    /// Turns an id into the text that is certain now; see [`Llama::generate`].
    decode: D,
    /// Prompt and generated tokens, in order.
    tokens: Vec<u32>,
    n_prompt: usize,
    /// Hidden state of the last token, `[1, d_model]`, once computed.
    last_hidden: Option<Tensor<2>>,
    finish_reason: Option<FinishReason>,
}

impl Llama {
    /// Starts generating after `prompt`. `decode` is called with each new id, and with `None` at the
    /// end, and gives the text that became certain (an incremental detokenizer).
    ///
    /// # Errors
    /// [`ModelError::Empty`], [`ModelError::PromptTooLong`], [`ModelError::TokenOutOfRange`] and
    /// [`ModelError::Sampling`], before anything is computed.
    pub fn generate<D>(
        &self,
        prompt: &[u32],
        config: GenerateConfig,
        decode: D,
    ) -> Result<Generation<'_, D>, ModelError>
    where
        D: FnMut(Option<u32>) -> String,
    {
        if prompt.is_empty() {
            return Err(ModelError::Empty { what: "prompt" });
        }
        let max_seq_len = self.config.max_seq_len;
        if prompt.len() >= max_seq_len {
            return Err(ModelError::PromptTooLong {
                prompt_tokens: prompt.len(),
                max_seq_len,
            });
        }
        self.check_ids(prompt)?;
        Ok(Generation {
            model: self,
            cache: KvCache::new(&self.config),
            sampler: Sampler::new(config.sampling.clone())?,
            stops: StopMatcher::new(config.stop.clone()),
            config,
            decode,
            tokens: prompt.to_vec(),
            n_prompt: prompt.len(),
            last_hidden: None,
            finish_reason: None,
        })
    }
}

impl<D: FnMut(Option<u32>) -> String> Generation<'_, D> {
    /// Computes the tokens that the cache does not hold yet: the prompt, or the last token. The
    /// first `next` does it otherwise; to be called to time the prompt alone.
    pub fn prefill(&mut self) {
        while self.prefill_chunk() {}
    }

    /// Computes a part of the prompt; `false` when nothing is left to compute. Between two calls a
    /// generation can be given up.
    pub fn prefill_chunk(&mut self) -> bool {
        let start = self.cache.len();
        let end = self.tokens.len().min(start + PREFILL_CHUNK);
        if start < end {
            let (model, cache) = (self.model, &mut self.cache);
            let ids = model
                .ids_tensor(&[&self.tokens[start..end]])
                .expect("ids of the vocabulary");
            let device = model.device();
            let hidden = in_pool(&device, || model.hidden_cached(ids, cache)); // [1, seq, d_model]
            let last = hidden.narrow(1, end - start - 1, 1);
            self.last_hidden = Some(last.reshape([1, model.config.d_model]));
        }
        self.cache.len() < self.tokens.len()
    }

    /// Why it ended; `None` while it runs.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// The generated ids so far.
    pub fn generated(&self) -> &[u32] {
        &self.tokens[self.n_prompt..]
    }

    /// Logits of the next token, `[vocab]`.
    pub fn next_logits(&mut self) -> Vec<f32> {
        self.prefill();
        let hidden = self
            .last_hidden
            .clone()
            .expect("a prompt has at least one token");
        let model = self.model;
        in_pool(&model.device(), || host_f32(model.head(hidden)))
    }

    fn finish(&mut self, reason: FinishReason) -> String {
        self.finish_reason = Some(reason);
        let rest = (self.decode)(None);
        let mut text = self.stops.push(&rest);
        text.push_str(&self.stops.finish());
        text
    }
}

impl<D: FnMut(Option<u32>) -> String> Iterator for Generation<'_, D> {
    type Item = GeneratedToken;

    fn next(&mut self) -> Option<GeneratedToken> {
        if self.finish_reason.is_some() {
            return None;
        }
        if self.config.max_new_tokens == 0 {
            self.finish_reason = Some(FinishReason::Length);
            return None;
        }
        let mut logits = self.next_logits();
        let Some(id) = self.sampler.sample(&mut logits, &self.tokens) else {
            self.finish_reason = Some(FinishReason::NonFinite);
            return None;
        };
        self.tokens.push(id);
        if self.config.eos_ids.contains(&id) {
            let text = self.finish(FinishReason::Stop);
            return Some(GeneratedToken { id, text });
        }
        let decoded = (self.decode)(Some(id));
        let mut text = self.stops.push(&decoded);
        if self.stops.is_stopped() {
            self.finish_reason = Some(FinishReason::Stop);
        } else if self.generated().len() >= self.config.max_new_tokens
            || self.tokens.len() >= self.model.config.max_seq_len
        {
            text.push_str(&self.finish(FinishReason::Length));
        }
        Some(GeneratedToken { id, text })
    }
}

#[cfg(test)]
mod tests;
