//! `POST /v1/chat/completions`, as OpenAI's clients speak it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    chat_body::{ChatFields, SCHEMA, Streaming},
    reason,
    sse::{self, Chunks},
    usage,
};
use crate::{
    Finished, Prompt,
    app::{App, unix_seconds},
    body::JsonBody,
    error::ApiError,
    job::Job,
    sampling::{Defaults, SamplingFields},
};

pub(crate) async fn complete(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = JsonBody::read(request, &app.config, &SCHEMA).await?;
    let mut fields: ChatFields = body.parse()?;
    let sampling: SamplingFields = body.parse()?;
    app.check_model(fields.model.take())?;
    let streaming = fields.streaming()?;
    // OpenAI's defaults.
    let defaults = Defaults {
        max_tokens: None,
        temperature: 1.0,
        seed: app.fresh_seed(),
    };
    let request = sampling.with_prompt(Prompt::Chat(fields.messages()?), defaults)?;
    let job = Job::start(&app, request).await?;
    let answer = Answer {
        id: format!("chatcmpl-{:016x}", app.unique_number()),
        created: unix_seconds(),
        model: app.model_name().to_owned(),
        n_prompt_tokens: job.n_prompt_tokens,
    };
    match streaming {
        Streaming::Streamed { with_usage } => {
            Ok(sse::response(job, ChatChunks { answer, with_usage }))
        }
        Streaming::Whole => {
            let (text, finished) = job.collect().await?;
            Ok(Json(answer.whole(&text, finished)).into_response())
        }
    }
}

/// What all parts of an answer have in common.
struct Answer {
    id: String,
    created: u64,
    model: String,
    n_prompt_tokens: usize,
}

impl Answer {
    fn whole(&self, text: &str, finished: Finished) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": null,
                "finish_reason": reason(finished),
            }],
            "usage": usage(self.n_prompt_tokens, finished),
        })
    }
}

struct ChatChunks {
    answer: Answer,
    with_usage: bool,
}

impl ChatChunks {
    fn chunk(&self, choices: Value) -> Value {
        let Answer {
            id, created, model, ..
        } = &self.answer;
        let mut chunk = json!({
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": choices,
        });
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn delta(&self, delta: Value, finish_reason: Option<&str>) -> Value {
        let choice =
            json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        self.chunk(json!([choice]))
    }
}

impl Chunks for ChatChunks {
    fn open(&self) -> Option<Value> {
        Some(self.delta(json!({"role": "assistant", "content": ""}), None))
    }

    fn text(&self, piece: &str) -> Value {
        self.delta(json!({"content": piece}), None)
    }

    fn close(&self, finished: Finished) -> Vec<Value> {
        let mut chunks = vec![self.delta(json!({}), Some(reason(finished)))];
        if self.with_usage {
            let mut last = self.chunk(json!([]));
            last["usage"] = usage(self.answer.n_prompt_tokens, finished);
            chunks.push(last);
        }
        chunks
    }
}
