//! `POST /generate`: continue a text, without a chat template.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    reason,
    sse::{self, Chunks},
};
use crate::{
    Finished, Prompt,
    app::App,
    body::{JsonBody, Schema},
    error::ApiError,
    job::Job,
    sampling::{Defaults, SamplingFields},
};

const SCHEMA: Schema = Schema {
    required: &["prompt"],
    optional: &[
        "model",
        "max_tokens",
        "max_new_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "seed",
        "stop",
        "stream",
    ],
    unsupported: &[],
};

/// New tokens where the request does not say how many.
const DEFAULT_MAX_TOKENS: usize = 128;

#[derive(Debug, Deserialize)]
struct Fields {
    prompt: String,
    model: Option<String>,
    stream: Option<bool>,
}

/// Greedy unless a temperature is given, as transformers' `generate`.
pub(crate) async fn generate(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = JsonBody::read(request, &app.config, &SCHEMA).await?;
    let fields: Fields = body.parse()?;
    let sampling: SamplingFields = body.parse()?;
    app.check_model(fields.model)?;
    let defaults = Defaults {
        max_tokens: Some(DEFAULT_MAX_TOKENS),
        temperature: 0.0,
        seed: app.fresh_seed(),
    };
    let request = sampling.with_prompt(Prompt::Text(fields.prompt), defaults)?;
    let job = Job::start(&app, request).await?;
    let n_prompt_tokens = job.n_prompt_tokens;
    if fields.stream == Some(true) {
        return Ok(sse::response(job, TextChunks { n_prompt_tokens }));
    }
    let (text, finished) = job.collect().await?;
    Ok(Json(ending(&text, n_prompt_tokens, finished)).into_response())
}

/// The whole answer; as the last event of a stream, with an empty text.
fn ending(text: &str, n_prompt_tokens: usize, finished: Finished) -> Value {
    json!({
        "text": text,
        "prompt_tokens": n_prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "finish_reason": reason(finished),
    })
}

struct TextChunks {
    n_prompt_tokens: usize,
}

impl Chunks for TextChunks {
    fn open(&self) -> Option<Value> {
        None
    }

    fn text(&self, piece: &str) -> Value {
        json!({"text": piece})
    }

    fn close(&self, finished: Finished) -> Vec<Value> {
        vec![ending("", self.n_prompt_tokens, finished)]
    }
}
