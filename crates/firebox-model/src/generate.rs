//! Generation as an iterator.

use crate::error::ModelError;
use crate::inference::Sequence;
use crate::llama::Llama;
use crate::sampling::{Sampler, SamplingConfig};
use crate::stop::StopMatcher;

/// Prompt tokens computed in one pass; bounds the memory of a long prompt.
pub(crate) const PREFILL_CHUNK: usize = 256;

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
    sequence: Sequence<'a>,
    sampler: Sampler,
    stops: StopMatcher,
    config: GenerateConfig,
    /// Turns an id into the text that is certain now; see [`Llama::generate`].
    decode: D,
    /// Prompt and generated tokens, in order.
    tokens: Vec<u32>,
    n_prompt: usize,
    /// Of the next token, `[vocab]`: used again from token to token.
    logits: Vec<f32>,
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
        Generation::start(Sequence::burn(self), prompt, config, decode)
    }
}

impl<'a, D: FnMut(Option<u32>) -> String> Generation<'a, D> {
    pub(crate) fn start(
        sequence: Sequence<'a>,
        prompt: &[u32],
        config: GenerateConfig,
        decode: D,
    ) -> Result<Self, ModelError> {
        if prompt.is_empty() {
            return Err(ModelError::Empty { what: "prompt" });
        }
        let max_seq_len = sequence.config().max_seq_len;
        if prompt.len() >= max_seq_len {
            return Err(ModelError::PromptTooLong {
                prompt_tokens: prompt.len(),
                max_seq_len,
            });
        }
        sequence.config().check_ids(prompt)?;
        Ok(Self {
            sequence,
            sampler: Sampler::new(config.sampling.clone())?,
            stops: StopMatcher::new(config.stop.clone()),
            config,
            decode,
            tokens: prompt.to_vec(),
            n_prompt: prompt.len(),
            logits: Vec::new(),
            finish_reason: None,
        })
    }

    /// Computes the tokens that the cache does not hold yet: the prompt, or the last token. The
    /// first `next` does it otherwise; to be called to time the prompt alone.
    pub fn prefill(&mut self) {
        while self.prefill_chunk() {}
    }

    /// Computes a part of the prompt; `false` when nothing is left to compute. Between two calls a
    /// generation can be given up.
    pub fn prefill_chunk(&mut self) -> bool {
        let start = self.sequence.len();
        let end = self.tokens.len().min(start + PREFILL_CHUNK);
        if start < end {
            self.sequence.compute(&self.tokens[start..end]);
        }
        self.sequence.len() < self.tokens.len()
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
    pub fn next_logits(&mut self) -> &[f32] {
        self.prefill();
        self.sequence.logits(&mut self.logits);
        &self.logits
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
        self.next_logits();
        let drawn = self
            .sampler
            .sample(&mut self.logits, &self.tokens, self.n_prompt);
        let Some(id) = drawn else {
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
            || self.tokens.len() >= self.sequence.config().max_seq_len
        {
            text.push_str(&self.finish(FinishReason::Length));
        }
        Some(GeneratedToken { id, text })
    }
}

#[cfg(test)]
mod tests;
