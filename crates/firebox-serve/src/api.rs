//! The endpoints.

mod adapters;
mod chat;
mod chat_body;
mod completions;
mod embeddings;
mod envelope;
mod generate;
mod logprobs;
mod models;
mod page;
mod prometheus;
mod sse;
mod streaming;
mod tokenize;

use std::{any::Any, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use firebox_engine::{FinishReason, Finished};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    app::App,
    auth,
    error::{ApiError, clipped},
    request_id,
};

/// Every path there is, for the answer to one that there is not.
const PATHS: &[&str] = &[
    "/",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/generate",
    "/tokenize",
    "/detokenize",
    "/v1/models",
    "/v1/adapters",
    "/health",
    "/ready",
    "/metrics",
];

/// The endpoints, with request ids and the catching of panics around them.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::chat))
        .route("/generate", post(generate::generate))
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/completions", post(completions::complete))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/detokenize", post(tokenize::detokenize))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{name}", get(models::one))
        .route("/v1/adapters", get(adapters::list).post(adapters::load))
        .route("/v1/adapters/{name}", delete(adapters::unload))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(prometheus::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            auth::check,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            request_id::trace,
        ))
        .with_state(app)
}

/// The process is up.
async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The engine answers, and the server is not about to end.
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let status = if *app.stop.borrow() {
        "stopping"
    } else if !app.model.engine().is_alive() {
        "engine stopped"
    } else {
        return (StatusCode::OK, Json(json!({"status": "ready"})));
    };
    let status = Json(json!({ "status": status }));
    (StatusCode::SERVICE_UNAVAILABLE, status)
}

async fn unknown_path(uri: Uri) -> ApiError {
    ApiError::UnknownPath {
        path: clipped(uri.path()),
        paths: PATHS,
    }
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::Method {
        method,
        path: clipped(uri.path()),
    }
}

/// What was said in the panic stays out of the answer; the panic hook has reported it.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    ApiError::Internal.into_response()
}

/// OpenAI's `usage`. A prompt with several answers counts once.
fn usage(n_prompt_tokens: usize, all: &[Finished]) -> Value {
    let n_new_tokens: usize = all.iter().map(|one| one.n_new_tokens).sum();
    let n_cached_tokens: usize = all.iter().map(|one| one.n_cached_tokens).sum();
    json!({
        "prompt_tokens": n_prompt_tokens,
        "completion_tokens": n_new_tokens,
        "total_tokens": n_prompt_tokens + n_new_tokens,
        "prompt_tokens_details": {"cached_tokens": n_cached_tokens.min(n_prompt_tokens)},
    })
}

/// OpenAI's `finish_reason`.
fn reason(finished: &Finished) -> &'static str {
    match finished.reason {
        FinishReason::Length => "length",
        FinishReason::Stop => "stop",
    }
}
