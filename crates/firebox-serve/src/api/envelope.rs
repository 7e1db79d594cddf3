//! What OpenAI's answers, whole or in chunks, have in common.

use firebox_engine::Finished;
use serde_json::{Value, json};

use super::usage;
use crate::{
    app::{App, unix_seconds},
    job::Job,
};

/// Answers to one request; the fields `n` and `best_of` say it too.
pub(crate) const MAX_CHOICES: usize = 128;

pub(crate) struct Envelope {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    n_prompt_tokens: usize,
}

impl Envelope {
    /// For the answers of `job`: an object of this kind, whose id begins with `prefix`.
    pub(crate) fn new(app: &App, job: &Job, prefix: &str, object: &'static str) -> Self {
        Self {
            id: format!("{prefix}-{:016x}", app.unique_number()),
            object,
            created: unix_seconds(),
            model: job.model.name.clone(),
            n_prompt_tokens: job.n_prompt_tokens(),
        }
    }

    /// A whole answer.
    pub(crate) fn whole(&self, choices: Vec<Value>, all: &[Finished]) -> Value {
        let mut whole = self.with(Value::Array(choices));
        whole["usage"] = usage(self.n_prompt_tokens, all);
        whole
    }

    /// A chunk with a part of one choice. Where usage comes at the end, chunks before it have none.
    pub(crate) fn chunk(&self, choice: Value, with_usage: bool) -> Value {
        let mut chunk = self.with(json!([choice]));
        if with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// The chunk after all choices, where usage is wanted.
    pub(crate) fn end(&self, all: &[Finished], with_usage: bool) -> Option<Value> {
        with_usage.then(|| self.whole(Vec::new(), all))
    }

    fn with(&self, choices: Value) -> Value {
        json!({
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }
}
