//! The model that is served: an engine with what turns conversations into its ids.

use std::{fmt, path::PathBuf, sync::Arc};

use firebox_data::{ChatTemplate, Message};
use firebox_engine::TextEngine;

use crate::{
    adapters::{AdapterError, Adapters, ServedAdapter},
    error::{ApiError, backticked, clipped},
};

/// A model under a name: what answers, its chat template, and what ends an answer.
#[derive(Clone)]
pub struct ServedModel {
    name: String,
    engine: Arc<dyn TextEngine>,
    chat_template: Option<ChatTemplate>,
    eos_ids: Vec<u32>,
    adapters: Arc<Adapters>,
}

/// The model that a request names: the served one, or it with an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    /// Who begins with it ends with it, whatever is loaded meanwhile.
    pub(crate) adapter: Option<Arc<ServedAdapter>>,
}

/// What is to be continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// Text taken as it is, without a chat template.
    Text(String),
    /// Ids taken as they are.
    Ids(Vec<u32>),
    /// A conversation, to be written out by the chat template.
    Chat(Vec<Message>),
}

impl ServedModel {
    /// A model that cannot chat and whose answers end where they are told to.
    pub fn new(name: impl Into<String>, engine: impl TextEngine) -> Self {
        Self {
            name: name.into(),
            engine: Arc::new(engine),
            chat_template: None,
            eos_ids: Vec::new(),
            adapters: Arc::default(),
        }
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

    /// Serves the adapters of a folder too, under the names of their own folders, at most `max` of
    /// them. Those that are there are loaded now; see `/v1/adapters` and [`Self::read_adapters`] for
    /// later.
    ///
    /// # Errors
    /// [`AdapterError`]: the first of those that cannot be loaded.
    pub fn with_adapters(
        mut self,
        folder: impl Into<PathBuf>,
        max: usize,
    ) -> Result<Self, AdapterError> {
        self.adapters = Arc::new(Adapters::new(folder.into(), max));
        match self.read_adapters()?.into_iter().next() {
            None => Ok(self),
            Some(error) => Err(error),
        }
    }

    /// Loads what is new or changed in the folder of adapters, and unloads what is gone from it. Gives
    /// what could not be loaded.
    ///
    /// # Errors
    /// [`AdapterError::Folder`] and [`AdapterError::NoFolder`].
    pub fn read_adapters(&self) -> Result<Vec<AdapterError>, AdapterError> {
        self.adapters.read_again(&self.name, &*self.engine)
    }

    pub(crate) fn load_adapter(&self, name: &str) -> Result<Arc<ServedAdapter>, AdapterError> {
        self.adapters.load(name, &self.name, &*self.engine)
    }

    pub(crate) fn adapters(&self) -> &Adapters {
        &self.adapters
    }

    /// What the `model` of a request means; without one, the model alone.
    pub(crate) fn choose(&self, requested: Option<String>) -> Result<Chosen, ApiError> {
        let name = requested.unwrap_or_else(|| self.name.clone());
        let adapter = self.adapters.find(&name);
        if adapter.is_some() || name == self.name {
            return Ok(Chosen { name, adapter });
        }
        let adapters = self.adapters.loaded();
        let names = adapters.iter().map(|(name, ..)| name.as_str());
        Err(ApiError::UnknownModel {
            requested: clipped(&name),
            served: backticked(std::iter::once(&*self.name).chain(names)),
        })
    }

    /// The name clients use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What answers.
    pub fn engine(&self) -> &dyn TextEngine {
        &*self.engine
    }

    pub(crate) fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// The prompt as the model is to see it.
    pub(crate) fn prompt_ids(&self, prompt: Prompt) -> Result<Vec<u32>, ApiError> {
        let unusable = |reason: firebox_data::DataError| ApiError::Prompt {
            reason: reason.to_string(),
        };
        let tokenizer = self.engine.tokenizer();
        match prompt {
            Prompt::Ids(ids) => Ok(ids),
            Prompt::Text(text) => tokenizer.encode_document(&text).map_err(unusable),
            Prompt::Chat(messages) => {
                let Some(template) = &self.chat_template else {
                    return Err(ApiError::NoChatTemplate {
                        model: self.name.clone(),
                    });
                };
                let text = template.render(&messages, true).map_err(unusable)?;
                tokenizer.encode(&text).map_err(unusable)
            }
        }
    }
}

impl fmt::Debug for ServedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedModel")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
