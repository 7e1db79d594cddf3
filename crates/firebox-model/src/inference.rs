//! One type for the two forms of a decoder that can be used.

use burn::tensor::Tensor;
use firebox_tensor::kernels::in_pool;

use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::generate::{GenerateConfig, Generation};
use crate::host::{HostCache, HostLlama};
use crate::kv_cache::KvCache;
use crate::linear::host_f32;
use crate::llama::Llama;

/// Reads a text from its beginning and says what it expects after each token.
#[derive(Debug)]
pub struct LogitReader<'a>(Sequence<'a>);

impl LogitReader<'_> {
    /// Logits after each of the next tokens, `[ids.len(), vocab]`.
    ///
    /// # Errors
    /// [`ModelError::TokenOutOfRange`]; [`ModelError::PromptTooLong`] past the context.
    pub fn read(&mut self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        let config = self.0.config();
        config.check_context(self.0.len() + ids.len())?;
        config.check_ids(ids)?;
        Ok(match ids.is_empty() {
            true => Vec::new(),
            false => self.0.all_logits(ids),
        })
    }
}

/// What every form of a decoder can do.
pub trait CausalLm {
    /// The sizes.
    fn config(&self) -> &LlamaConfig;

    /// Negative log-likelihood of each token after the first, in nats: `ids.len() - 1` values.
    ///
    /// # Errors
    /// [`ModelError::Empty`] for fewer than two tokens, [`ModelError::PromptTooLong`],
    /// [`ModelError::TokenOutOfRange`].
    fn token_nll(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError>;

    /// Begins a text.
    fn logit_reader(&self) -> LogitReader<'_>;

    /// Starts generating after `prompt`; see [`Llama::generate`].
    ///
    /// # Errors
    /// As [`Llama::generate`].
    fn generate<D>(
        &self,
        prompt: &[u32],
        config: GenerateConfig,
        decode: D,
    ) -> Result<Generation<'_, D>, ModelError>
    where
        D: FnMut(Option<u32>) -> String;
}

impl CausalLm for Llama {
    fn logit_reader(&self) -> LogitReader<'_> {
        LogitReader(Sequence::burn(self))
    }

    fn config(&self) -> &LlamaConfig {
        self.config()
    }

    fn token_nll(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.token_nll(ids)
    }

    fn generate<D>(
        &self,
        prompt: &[u32],
        config: GenerateConfig,
        decode: D,
    ) -> Result<Generation<'_, D>, ModelError>
    where
        D: FnMut(Option<u32>) -> String,
    {
        self.generate(prompt, config, decode)
    }
}

impl CausalLm for HostLlama {
    fn logit_reader(&self) -> LogitReader<'_> {
        LogitReader(Sequence::host(self))
    }

    fn config(&self) -> &LlamaConfig {
        self.config()
    }

    fn token_nll(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.token_nll(ids)
    }

    fn generate<D>(
        &self,
        prompt: &[u32],
        config: GenerateConfig,
        decode: D,
    ) -> Result<Generation<'_, D>, ModelError>
    where
        D: FnMut(Option<u32>) -> String,
    {
        Generation::start(Sequence::host(self), prompt, config, decode)
    }
}

/// A decoder to be used, not trained: on a burn device, or laid out for this CPU.
#[derive(Debug)]
pub enum InferenceModel {
    /// On any device, possibly with an adapter.
    Burn(Box<Llama>),
    /// On the CPU.
    Host(Box<HostLlama>),
}

impl From<Llama> for InferenceModel {
    fn from(model: Llama) -> Self {
        Self::Burn(Box::new(model))
    }
}

impl From<HostLlama> for InferenceModel {
    fn from(model: HostLlama) -> Self {
        Self::Host(Box::new(model))
    }
}

impl CausalLm for InferenceModel {
    fn logit_reader(&self) -> LogitReader<'_> {
        match self {
            Self::Burn(model) => model.logit_reader(),
            Self::Host(model) => model.logit_reader(),
        }
    }

    fn config(&self) -> &LlamaConfig {
        match self {
            Self::Burn(model) => model.config(),
            Self::Host(model) => model.config(),
        }
    }

    fn token_nll(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        match self {
            Self::Burn(model) => model.token_nll(ids),
            Self::Host(model) => model.token_nll(ids),
        }
    }

    fn generate<D>(
        &self,
        prompt: &[u32],
        config: GenerateConfig,
        decode: D,
    ) -> Result<Generation<'_, D>, ModelError>
    where
        D: FnMut(Option<u32>) -> String,
    {
        match self {
            Self::Burn(model) => model.generate(prompt, config, decode),
            Self::Host(model) => model.generate(prompt, config, decode),
        }
    }
}

/// One sequence on its way through a decoder.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a generation, and not moved")]
pub(crate) enum Sequence<'a> {
    Burn {
        model: &'a Llama,
        cache: KvCache,
        /// Hidden state of the last token, `[1, d_model]`, once computed.
        last_hidden: Option<Tensor<2>>,
    },
    Host {
        model: &'a HostLlama,
        cache: HostCache,
    },
}

impl<'a> Sequence<'a> {
    pub(crate) fn burn(model: &'a Llama) -> Self {
        Self::Burn {
            model,
            cache: KvCache::new(model.config()),
            last_hidden: None,
        }
    }

    pub(crate) fn host(model: &'a HostLlama) -> Self {
        Self::Host {
            model,
            cache: model.new_cache(),
        }
    }

    pub(crate) fn config(&self) -> &'a LlamaConfig {
        match self {
            Self::Burn { model, .. } => model.config(),
            Self::Host { model, .. } => model.config(),
        }
    }

    /// Tokens computed.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Burn { cache, .. } => cache.len(),
            Self::Host { cache, .. } => cache.len(),
        }
    }

    /// Computes the next tokens: ids of the vocabulary, within the context.
    pub(crate) fn compute(&mut self, ids: &[u32]) {
        match self {
            Self::Burn {
                model,
                cache,
                last_hidden,
            } => {
                let n = ids.len();
                let ids = model.ids_tensor(&[ids]).expect("ids of the vocabulary");
                let hidden = in_pool(&model.device(), || model.hidden_cached(ids, cache));
                let last = hidden.narrow(1, n - 1, 1); // [1, 1, d_model]
                *last_hidden = Some(last.reshape([1, model.config().d_model]));
            }
            Self::Host { model, cache } => {
                model
                    .forward(ids, cache)
                    .expect("ids of the vocabulary, within the context");
            }
        }
    }

    /// As [`Self::compute`], and gives the logits after each of the tokens, `[ids.len(), vocab]`.
    fn all_logits(&mut self, ids: &[u32]) -> Vec<f32> {
        match self {
            Self::Burn { model, cache, .. } => {
                let shape = [ids.len(), model.config().d_model];
                let ids = model.ids_tensor(&[ids]).expect("ids of the vocabulary");
                in_pool(&model.device(), || {
                    let hidden = model.hidden_cached(ids, cache).reshape(shape);
                    host_f32(model.head(hidden))
                })
            }
            Self::Host { model, cache } => {
                model
                    .forward(ids, cache)
                    .expect("ids of the vocabulary, within the context");
                let mut logits = Vec::new();
                model.all_logits_into(cache, &mut logits);
                logits
            }
        }
    }

    /// Logits after the last computed token, `[vocab]`.
    pub(crate) fn logits(&mut self, logits: &mut Vec<f32>) {
        match self {
            Self::Burn {
                model, last_hidden, ..
            } => {
                let hidden = last_hidden
                    .clone()
                    .expect("a prompt has at least one token");
                *logits = in_pool(&model.device(), || host_f32(model.head(hidden)));
            }
            Self::Host { model, cache } => model.last_logits_into(cache, logits),
        }
    }
}
