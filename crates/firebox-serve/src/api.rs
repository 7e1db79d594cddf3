//! The endpoints.

mod adapters;
mod answers;
mod chat;
mod chat_body;
mod completion_body;
mod completions;
mod document;
mod embeddings;
mod envelope;
mod generate;
mod logprobs;
mod models;
mod page;
mod prometheus;
mod sse;
mod streaming;
mod token_id;
mod tokenize;

use std::{any::Any, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
};
use firebox_engine::{FinishReason, Finished};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::answers::Status;
use crate::{
    app::App,
    auth,
    error::{ApiError, clipped},
    request_id,
};

/// The endpoints, which are also what the document has.
fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(document::Base::openapi())
        .routes(routes!(chat::complete))
        .routes(routes!(completions::complete))
        .routes(routes!(embeddings::embed))
        .routes(routes!(generate::generate))
        .routes(routes!(tokenize::tokenize))
        .routes(routes!(tokenize::detokenize))
        .routes(routes!(models::list))
        .routes(routes!(models::one))
        .routes(routes!(adapters::list, adapters::load))
        .routes(routes!(adapters::unload))
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(prometheus::metrics))
        .routes(routes!(page::chat))
        .routes(routes!(page::docs))
        .routes(routes!(document::openapi))
}

/// The endpoints, with request ids and the catching of panics around them.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::from(routes())
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
#[utoipa::path(get, path = "/health", tag = "server", responses(
    (status = 200, description = "It is.", body = Status),
))]
async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The engine answers, and the server is not about to end.
#[utoipa::path(get, path = "/ready", tag = "server", responses(
    (status = 200, description = "It does.", body = Status),
    (status = 503, description = "It does not, or the server is.", body = Status),
))]
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
        paths: &document::PATHS,
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
