//! `POST /generate`: continue a text, without a chat template.

use std::sync::{Arc, LazyLock};

use axum::{
    Extension, Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use firebox_engine::{Finished, TokenLogprobs};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    answers::{Generated, GeneratedEvent},
    document::{BodyRefusals, BusyRefusals},
    reason,
    sse::{self, Chunks},
};
use crate::{
    app::App,
    auth::Caller,
    body::JsonBody,
    error::ApiError,
    job::{Asked, Job},
    model::Prompt,
    sampling::{Defaults, SamplingFields},
    schema::{Schema, body_type},
};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::of::<Fields>()
        .and::<SamplingFields>()
        .with("max_tokens", |field| {
            field.default = Some(DEFAULT_MAX_TOKENS.into())
        })
        .with("temperature", |field| field.default = Some(0.into()))
});

body_type!(GenerateBody, "GenerateRequest", SCHEMA);

/// New tokens where the request does not say how many.
const DEFAULT_MAX_TOKENS: usize = 128;

#[derive(Debug, Deserialize, ToSchema)]
struct Fields {
    /// The text to be continued.
    prompt: String,
    /// The model's name, or an adapter's; the model alone unless given.
    model: Option<String>,
    /// Whether the answer comes token by token, as server-sent events.
    #[schema(default = false)]
    stream: Option<bool>,
}

/// Continues a text, greedily unless a temperature is given, as transformers' `generate`.
#[utoipa::path(
    post,
    path = "/generate",
    tag = "answers",
    request_body(content = GenerateBody, example = json!({
        "prompt": "The capital of France is",
        "max_tokens": 8,
    })),
    responses(
        (
            status = 200,
            description = "The continuation, as events where `stream` is true.",
            content((Generated = "application/json"), (GeneratedEvent = "text/event-stream"))
        ),
        BodyRefusals,
        BusyRefusals,
    )
)]
pub(crate) async fn generate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = JsonBody::read(request, &app.config, &SCHEMA).await?;
    let fields: Fields = body.parse()?;
    let sampling: SamplingFields = body.parse()?;
    let model = app.model.choose(fields.model)?;
    let defaults = Defaults {
        max_tokens: Some(DEFAULT_MAX_TOKENS),
        temperature: 0.0,
        seed: app.fresh_seed(),
    };
    let asked = Asked {
        model,
        prompts: vec![Prompt::Text(fields.prompt)],
        n: 1,
        sampling: sampling.check(defaults)?,
        logprobs: None,
        prompt_logprobs: None,
    };
    let mut job = Job::start(&app, caller, asked).await?;
    if fields.stream == Some(true) {
        return Ok(sse::response(job, TextChunks));
    }
    let choices = job.collect().await?;
    let choice = choices.first().ok_or(ApiError::Internal)?;
    Ok(Json(ending(&choice.text, &choice.finished)).into_response())
}

/// The whole answer; as the last event of a stream, with an empty text.
fn ending(text: &str, finished: &Finished) -> Value {
    json!({
        "text": text,
        "prompt_tokens": finished.n_prompt_tokens,
        "completion_tokens": finished.n_new_tokens,
        "finish_reason": reason(finished),
    })
}

struct TextChunks;

impl Chunks for TextChunks {
    fn open(&self, _: usize) -> Option<Value> {
        None
    }

    fn token(&mut self, _: usize, _: u32, text: &str, _: Option<&TokenLogprobs>) -> Option<Value> {
        Some(json!({"text": text}))
    }

    fn close(&mut self, _: usize, finished: &Finished) -> Vec<Value> {
        vec![ending("", finished)]
    }

    fn end(&mut self, _: &[Finished]) -> Option<Value> {
        None
    }
}
