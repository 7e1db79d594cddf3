//! Every way to refuse or fail a request, each as a status and a body in OpenAI's error shape.

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use firebox_engine::EngineError;
use serde_json::{Value, json};

use crate::{adapters::AdapterError, keys::TooMuch};

/// Seconds after which a client refused by a full queue may try again.
const RETRY_AFTER_S: u64 = 1;

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be had.
    #[error("listen on `{address}` (hint: port 0 takes any free port)")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("expected `content-type: application/json`, found {found}")]
    ContentType { found: String },
    #[error("expected a body without `content-encoding`, found `{found}`")]
    ContentEncoding { found: String },
    #[error("the body is not valid JSON: {source}")]
    Json { source: serde_json::Error },
    #[error("expected a JSON object, found {found}")]
    NotAnObject { found: &'static str },
    #[error("missing field `{param}`")]
    MissingField { param: String },
    #[error("{}{source}", param.as_ref().map(|param| format!("`{param}`: ")).unwrap_or_default())]
    FieldType {
        param: Option<String>,
        source: serde_json::Error,
    },
    #[error("`{param}`: expected {expected}, found {found}")]
    FieldValue {
        param: String,
        expected: String,
        found: String,
    },
    #[error("unknown field `{param}`, expected one of {}", backticked(fields.iter().map(String::as_str)))]
    UnknownField { param: String, fields: Vec<String> },
    #[error("`{param}` is not supported yet{hint}")]
    Unsupported { param: String, hint: String },
    #[error("expected a body of at most {limit_bytes} bytes, found a larger one")]
    BodyTooLarge { limit_bytes: usize },
    #[error("expected the body within {} s, found it unfinished", limit.as_secs_f32())]
    BodyTimeout { limit: Duration },
    #[error("the body ended early")]
    BodyCut,
    #[error(
        "expected a key of this server as `authorization: Bearer …`, found none or another \
         (hint: whoever runs the server makes keys)"
    )]
    Unauthorized,
    #[error(
        "expected an admin's key, or a server without keys that listens on the loopback address alone \
         (hint: `firebox key --admin` makes one)"
    )]
    Forbidden,
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error("unknown path `{path}`, expected one of {}", backticked(paths.iter().map(String::as_str)))]
    UnknownPath {
        path: String,
        paths: &'static [String],
    },
    #[error("the method {method} is not allowed for `{path}` (the header `allow` lists what is)")]
    Method { method: Method, path: String },
    #[error("the model `{requested}` does not exist, this server has {served}")]
    UnknownModel { requested: String, served: String },
    #[error("this server has no embedding model (hint: start it with --embedding-model)")]
    NoEmbeddingModel,
    #[error(
        "input {index}: expected at most {max_tokens} tokens, found {n_tokens} (hint: shorten it, or \
         send `truncate_prompt_tokens`: -1)"
    )]
    InputTooLong {
        index: usize,
        n_tokens: usize,
        max_tokens: usize,
    },
    #[error(
        "expected a model with a chat template, found none in `{model}` (hint: use `/v1/completions`)"
    )]
    NoChatTemplate { model: String },
    #[error("the prompt cannot be encoded: {reason}")]
    Prompt { reason: String },
    #[error(transparent)]
    Engine(EngineError),
    #[error("the answer was not finished within {} s", limit.as_secs_f32())]
    TimedOut { limit: Duration },
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("internal error (the server's log has more under this request's `x-request-id`)")]
    Internal,
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Deadline { limit } => Self::TimedOut { limit },
            EngineError::Stopped => Self::ShuttingDown,
            EngineError::Model(_) | EngineError::Panicked => {
                tracing::error!(%error, "the engine failed");
                Self::Internal
            }
            error => Self::Engine(error),
        }
    }
}

impl ApiError {
    /// HTTP status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::ContentType { .. } | Self::ContentEncoding { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::UnknownPath { .. } | Self::UnknownModel { .. } | Self::NoEmbeddingModel => {
                StatusCode::NOT_FOUND
            }
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Adapter(AdapterError::TooMany { .. }) => StatusCode::CONFLICT,
            Self::Adapter(
                AdapterError::Unknown { .. }
                | AdapterError::NotLoaded { .. }
                | AdapterError::NoFolder,
            ) => StatusCode::NOT_FOUND,
            Self::Adapter(AdapterError::Folder { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Engine(EngineError::QueueFull { .. }) | Self::TooMuch(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::TimedOut { .. } | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Json { .. }
            | Self::NotAnObject { .. }
            | Self::MissingField { .. }
            | Self::FieldType { .. }
            | Self::FieldValue { .. }
            | Self::UnknownField { .. }
            | Self::Unsupported { .. }
            | Self::BodyCut
            | Self::InputTooLong { .. }
            | Self::NoChatTemplate { .. }
            | Self::Prompt { .. }
            | Self::Adapter(_)
            | Self::Engine(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// OpenAI's broad class of the error.
    fn kind(&self) -> &'static str {
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The field at fault.
    fn param(&self) -> Option<&str> {
        match self {
            Self::MissingField { param } => Some(param),
            Self::FieldType { param, .. } => param.as_deref(),
            Self::FieldValue { param, .. }
            | Self::UnknownField { param, .. }
            | Self::Unsupported { param, .. } => Some(param),
            Self::UnknownModel { .. } => Some("model"),
            Self::InputTooLong { .. } => Some("input"),
            _ => None,
        }
    }

    /// A name for programs to match on.
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::ContentType { .. } | Self::ContentEncoding { .. } => "unsupported_media_type",
            Self::Json { .. } | Self::NotAnObject { .. } => "invalid_json",
            Self::MissingField { .. } => "missing_parameter",
            Self::FieldType { .. } => "invalid_parameter",
            Self::FieldValue { .. } => "invalid_value",
            Self::UnknownField { .. } => "unknown_parameter",
            Self::Unsupported { .. } => "unsupported_parameter",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimeout { .. } | Self::TimedOut { .. } => "timeout",
            Self::Unauthorized => "invalid_api_key",
            Self::Forbidden => "not_allowed",
            Self::Adapter(AdapterError::Unknown { .. } | AdapterError::NotLoaded { .. }) => {
                "adapter_not_found"
            }
            Self::Adapter(AdapterError::TooMany { .. }) => "too_many_adapters",
            Self::TooMuch(_) => "rate_limit_exceeded",
            Self::UnknownPath { .. } => "unknown_path",
            Self::Method { .. } => "method_not_allowed",
            Self::UnknownModel { .. } => "model_not_found",
            Self::NoEmbeddingModel => "no_embedding_model",
            Self::InputTooLong { .. } | Self::Engine(EngineError::ContextLength { .. }) => {
                "context_length_exceeded"
            }
            Self::Engine(EngineError::QueueFull { .. }) => "queue_full",
            Self::ShuttingDown => "shutting_down",
            Self::BodyCut
            | Self::NoChatTemplate { .. }
            | Self::Prompt { .. }
            | Self::Adapter(_)
            | Self::Engine(_)
            | Self::Internal => return None,
        })
    }

    /// The body, also sent as an event when a stream fails midway.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {
            "message": self.to_string(),
            "type": self.kind(),
            "param": self.param(),
            "code": self.code(),
        }})
    }

    /// Writes the error to the log: the server's own failures loudly, with what caused them.
    pub(crate) fn log(&self) {
        if !self.status().is_server_error() {
            return tracing::debug!(code = self.code(), param = self.param(), "refused");
        }
        let cause = std::error::Error::source(self).map(ToString::to_string);
        tracing::error!(cause, "{self}");
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        if self.status() == StatusCode::TOO_MANY_REQUESTS {
            let after = match &self {
                Self::TooMuch(refused) => refused.retry_after_s(),
                _ => RETRY_AFTER_S,
            };
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        if matches!(self, Self::Unauthorized) {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// What a client sent, short enough to be sent back.
pub(crate) fn clipped(found: &str) -> String {
    const MAX_CHARS: usize = 100;
    match found.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found.to_owned(),
    }
}

/// An error and what caused it.
pub(crate) fn whole_story(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |story, cause| {
        format!("{story}: {cause}")
    })
}

/// "`a`, `b`, `c`".
pub(crate) fn backticked<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
