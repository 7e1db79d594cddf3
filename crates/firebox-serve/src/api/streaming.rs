//! Whether an answer is streamed, as OpenAI's clients say it.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::error::ApiError;

/// What a stream has besides the answer; only where `stream` is true.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamOptions {
    /// Whether a last chunk counts the tokens.
    #[schema(default = false)]
    include_usage: Option<bool>,
}

/// Whether the answer is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streaming {
    Whole,
    Streamed { with_usage: bool },
}

impl Streaming {
    pub(crate) fn of(
        stream: Option<bool>,
        options: Option<&StreamOptions>,
    ) -> Result<Self, ApiError> {
        match (stream, options) {
            (Some(true), options) => Ok(Self::Streamed {
                with_usage: options.and_then(|o| o.include_usage).unwrap_or(false),
            }),
            (_, None) => Ok(Self::Whole),
            (_, Some(_)) => Err(ApiError::FieldValue {
                param: "stream_options".to_owned(),
                expected: "none where `stream` is not true".to_owned(),
                found: "some".to_owned(),
            }),
        }
    }
}
