//! The endpoints.

mod chat;
mod chat_body;
mod generate;
mod models;
mod sse;

use std::{any::Any, sync::Arc};

use axum::{
    Json, Router,
    http::{Method, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    FinishReason, Finished,
    app::App,
    error::{ApiError, clipped},
    request_id,
};

/// Every path there is, for the answer to one that there is not.
const PATHS: &[&str] = &["/generate", "/v1/chat/completions", "/v1/models", "/health"];

/// The endpoints, with request ids and the catching of panics around them.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/generate", post(generate::generate))
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{name}", get(models::one))
        .route("/health", get(health))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
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

/// OpenAI's `usage`.
fn usage(n_prompt_tokens: usize, finished: Finished) -> Value {
    json!({
        "prompt_tokens": n_prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "total_tokens": n_prompt_tokens + finished.completion_tokens,
    })
}

/// OpenAI's `finish_reason`. A cancelled generation has no reader, so its word is never seen.
fn reason(finished: Finished) -> &'static str {
    match finished.finish_reason {
        FinishReason::Length => "length",
        FinishReason::Stop | FinishReason::Cancelled => "stop",
    }
}
