//! The generator over a firebox-model decoder, its tokenizer and its chat template.

use std::{error, ops::ControlFlow};

use firebox_data::{ChatTemplate, Message, Tokenizer};
use firebox_model::{CausalLm, GenerateConfig, InferenceModel, ModelError, SamplingConfig};

use crate::{
    ChatMessage, FinishReason, Finished, GenerateError, GenerateRequest, Prepared, Prompt,
    TextGenerator,
};

/// A model on this machine.
///
/// # Examples
///
/// ```
/// use burn::tensor::Device;
/// use firebox_data::{ChatTemplate, train_byte_level_bpe};
/// use firebox_model::LlamaConfig;
/// use firebox_serve::{LocalModel, TextGenerator};
///
/// let tokenizer = train_byte_level_bpe(["hello"], 260, &["<|im_start|>", "<|im_end|>"])?;
/// let config = LlamaConfig { eos_ids: vec![0], ..LlamaConfig::new(260, 32, 64, 2, 4) };
/// // Random weights; `Llama::load` takes those of a checkpoint.
/// let local = LocalModel::new("tiny", config.init(42, &Device::flex()), tokenizer)?
///     .with_chat_template(ChatTemplate::chatml());
/// assert_eq!(local.model_id(), "tiny");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LocalModel {
    id: String,
    model: InferenceModel,
    tokenizer: Tokenizer,
    chat_template: Option<ChatTemplate>,
    eos_ids: Vec<u32>,
}

/// Why a model and a tokenizer make no [`LocalModel`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalModelError {
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
}

impl LocalModel {
    /// A model without a chat template, ended by the ids that its config names.
    ///
    /// # Errors
    ///
    /// When the tokenizer is larger than the embedding.
    pub fn new(
        id: impl Into<String>,
        model: impl Into<InferenceModel>,
        tokenizer: Tokenizer,
    ) -> Result<Self, LocalModelError> {
        let model = model.into();
        let (vocab_size, found) = (model.config().vocab_size, tokenizer.vocab_size());
        if found > vocab_size {
            return Err(LocalModelError::VocabSize {
                model: vocab_size,
                tokenizer: found,
            });
        }
        let eos_ids = model.config().eos_ids.clone();
        Ok(Self {
            id: id.into(),
            model,
            tokenizer,
            chat_template: None,
            eos_ids,
        })
    }

    /// Sets the template that writes out conversations.
    #[must_use]
    pub fn with_chat_template(mut self, template: ChatTemplate) -> Self {
        self.chat_template = Some(template);
        self
    }

    /// Sets the ids that end an answer, such as those of `generation_config.json`.
    #[must_use]
    pub fn with_eos_ids(mut self, eos_ids: Vec<u32>) -> Self {
        self.eos_ids = eos_ids;
        self
    }

    /// The prompt as the model is to see it.
    fn prompt_ids(&self, prompt: &Prompt) -> Result<Vec<u32>, GenerateError> {
        let messages = match prompt {
            Prompt::Text(text) => return self.tokenizer.encode_document(text).map_err(unusable),
            Prompt::Chat(messages) => messages,
        };
        let Some(template) = &self.chat_template else {
            return Err(GenerateError::NoChatTemplate {
                model: self.id.clone(),
            });
        };
        let messages: Vec<Message> = messages.iter().map(message).collect();
        let text = template.render(&messages, true).map_err(unusable)?;
        self.tokenizer.encode(&text).map_err(unusable)
    }
}

fn message(message: &ChatMessage) -> Message {
    let ChatMessage { role, content } = message.clone();
    Message { role, content }
}

fn unusable(reason: impl error::Error + Send + Sync + 'static) -> GenerateError {
    GenerateError::Prompt {
        reason: Box::new(reason),
    }
}

impl TextGenerator for LocalModel {
    fn model_id(&self) -> &str {
        &self.id
    }

    fn prepare(&self, request: &GenerateRequest) -> Result<Prepared, GenerateError> {
        let prompt_ids = self.prompt_ids(&request.prompt)?;
        let n_prompt_tokens = prompt_ids.len();
        let max_seq_len = self.model.config().max_seq_len;
        if n_prompt_tokens == 0 {
            return Err(GenerateError::EmptyPrompt);
        }
        if n_prompt_tokens >= max_seq_len {
            return Err(GenerateError::ContextLength {
                n_prompt_tokens,
                max_seq_len,
            });
        }
        Ok(Prepared { prompt_ids })
    }

    fn generate(
        &self,
        prepared: &Prepared,
        request: &GenerateRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Finished, GenerateError> {
        let config = GenerateConfig {
            sampling: SamplingConfig {
                temperature: request.temperature,
                top_k: request.top_k,
                top_p: request.top_p,
                min_p: request.min_p,
                repetition_penalty: request.repetition_penalty,
                seed: request.seed,
            },
            max_new_tokens: request.max_tokens.unwrap_or(usize::MAX),
            eos_ids: self.eos_ids.clone(),
            stop: request.stop.clone(),
        };
        let mut generation = self
            .model
            .generate(&prepared.prompt_ids, config, self.tokenizer.decoder(true))
            .map_err(|source| GenerateError::Failed {
                source: Box::new(source),
            })?;
        let cancelled = |completion_tokens| {
            Ok(Finished {
                completion_tokens,
                finish_reason: FinishReason::Cancelled,
            })
        };
        // A long prompt takes a while: whoever asked may be gone before its first token.
        while generation.prefill_chunk() {
            if on_text("").is_break() {
                return cancelled(0);
            }
        }
        while let Some(token) = generation.next() {
            if on_text(&token.text).is_break() {
                return cancelled(generation.generated().len());
            }
        }
        let finish_reason = match generation.finish_reason() {
            Some(firebox_model::FinishReason::Stop) => FinishReason::Stop,
            Some(firebox_model::FinishReason::Length) | None => FinishReason::Length,
            Some(firebox_model::FinishReason::NonFinite) => {
                return Err(GenerateError::Failed {
                    source: Box::new(ModelError::NonFiniteLogits),
                });
            }
        };
        Ok(Finished {
            completion_tokens: generation.generated().len(),
            finish_reason,
        })
    }
}
