//! Reads a request's JSON, within limits, and says what is wrong with it.

use std::error::Error;

use axum::{
    body::{Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, header},
};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    ServerConfig,
    error::{ApiError, clipped},
    schema::Schema,
};

/// How much of an oversized body is read and thrown away, so that a client that sends it all
/// before it listens sees the refusal and not a reset connection.
const MAX_DISCARDED_BYTES: usize = 64 << 20;

/// How `serde_path_to_error` writes the path of the body itself.
const ROOT: &str = ".";

/// A JSON object whose fields are all known.
#[derive(Debug)]
pub(crate) struct JsonBody(Bytes);

impl JsonBody {
    /// Reads the body and checks its fields by the schema.
    pub(crate) async fn read(
        request: Request,
        config: &ServerConfig,
        schema: &Schema,
    ) -> Result<Self, ApiError> {
        check_headers(request.headers())?;
        let limit = config.read_timeout;
        let bytes = timeout(limit, read_bytes(request, config.max_body_bytes))
            .await
            .map_err(|_| ApiError::BodyTimeout { limit })??;
        let object = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => object,
            Ok(other) => {
                return Err(ApiError::NotAnObject {
                    found: json_type(&other),
                });
            }
            Err(source) => return Err(ApiError::Json { source }),
        };
        schema.check(&object)?;
        Ok(Self(bytes))
    }

    /// Those of the fields that `T` has.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let mut json = serde_json::Deserializer::from_slice(&self.0);
        serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let param = (path != ROOT).then(|| clipped(&path));
            ApiError::FieldType {
                param,
                source: error.into_inner(),
            }
        })
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |value: &header::HeaderValue| clipped(&String::from_utf8_lossy(value.as_bytes()));
    if let Some(found) = headers.get(header::CONTENT_ENCODING) {
        return Err(ApiError::ContentEncoding { found: text(found) });
    }
    let Some(found) = headers.get(header::CONTENT_TYPE).map(text) else {
        return Err(ApiError::ContentType {
            found: "none".to_owned(),
        });
    };
    let media_type = found.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::ContentType {
        found: format!("`{found}`"),
    })
}

async fn read_bytes(request: Request, limit_bytes: usize) -> Result<Bytes, ApiError> {
    let waits_for_go_ahead = request.headers().contains_key(header::EXPECT);
    let body = request.into_body();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit_bytes && (waits_for_go_ahead || announced > MAX_DISCARDED_BYTES) {
        return Err(ApiError::BodyTooLarge { limit_bytes });
    }
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::with_capacity(announced.min(limit_bytes));
    let mut n_read = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            tracing::debug!(cause = error.source().map(ToString::to_string), "body cut");
            ApiError::BodyCut
        })?;
        n_read += chunk.len();
        if n_read <= limit_bytes {
            bytes.extend_from_slice(&chunk);
        } else if n_read > MAX_DISCARDED_BYTES.max(limit_bytes) {
            break;
        }
    }
    if n_read > limit_bytes {
        return Err(ApiError::BodyTooLarge { limit_bytes });
    }
    Ok(bytes.into())
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
