//! The body of a chat completion: its fields, and the messages as OpenAI's clients write them.

use firebox_data::Message;
use serde::Deserialize;
use serde_json::Number;

use super::streaming::{StreamOptions, Streaming};
use crate::{
    body::Schema,
    error::{ApiError, clipped},
    sampling::{to_usize, whole, wrong},
    structured::ResponseFormat,
};

pub(crate) const SCHEMA: Schema = Schema {
    required: &["messages"],
    optional: &[
        "n",
        "logprobs",
        "top_logprobs",
        "response_format",
        "stream_options",
    ],
    samples: true,
    unsupported: &[
        ("audio", "null"),
        ("function_call", "\"none\""),
        ("functions", "[]"),
        ("metadata", "{}"),
        ("modalities", "[\"text\"]"),
        ("parallel_tool_calls", "false"),
        ("prediction", "null"),
        ("prompt_cache_key", "null"),
        ("reasoning_effort", "\"none\""),
        ("safety_identifier", "null"),
        ("service_tier", "null"),
        ("store", "false"),
        ("tool_choice", "\"none\""),
        ("tools", "[]"),
        ("verbosity", "null"),
        ("web_search_options", "null"),
    ],
};

/// Roles a chat template knows.
const ROLES: &[&str] = &["system", "user", "assistant"];

/// The fields that are not about sampling.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatFields {
    pub(crate) model: Option<String>,
    messages: Vec<MessageFields>,
    pub(crate) n: Option<Number>,
    logprobs: Option<bool>,
    top_logprobs: Option<Number>,
    pub(crate) response_format: Option<ResponseFormat>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageFields {
    role: String,
    content: Content,
}

/// A text, or parts to be joined.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string or an array of `{\"type\":\"text\",\"text\":…}`"
)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Part {
    Text { text: String },
}

/// OpenAI's bound on `top_logprobs`.
const MAX_TOP_LOGPROBS: i64 = 20;

impl ChatFields {
    /// Whether to stream, and the count of tokens at the end.
    pub(crate) fn streaming(&self) -> Result<Streaming, ApiError> {
        Streaming::of(self.stream, self.stream_options.as_ref())
    }

    /// How many of the likeliest tokens go with each token; none unless `logprobs` is true.
    pub(crate) fn n_logprobs(&self) -> Result<Option<usize>, ApiError> {
        let expected = "a whole number from 0 to 20";
        let n = whole("top_logprobs", &self.top_logprobs, expected, |n| {
            (0..=MAX_TOP_LOGPROBS).contains(&n)
        })?;
        match (self.logprobs, n) {
            (Some(true), n) => Ok(Some(n.map_or(0, to_usize))),
            (_, None | Some(0)) => Ok(None),
            (_, Some(n)) => Err(wrong(
                "top_logprobs",
                "none where `logprobs` is not true",
                &n.to_string(),
            )),
        }
    }

    /// The conversation.
    pub(crate) fn messages(self) -> Result<Vec<Message>, ApiError> {
        MessageFields::check_all(self.messages)
    }
}

impl MessageFields {
    pub(crate) fn check_all(messages: Vec<Self>) -> Result<Vec<Message>, ApiError> {
        if messages.is_empty() {
            return Err(wrong("messages", "at least one message", "none"));
        }
        let messages = messages.into_iter().enumerate();
        messages.map(|(at, message)| message.check(at)).collect()
    }

    fn check(self, at: usize) -> Result<Message, ApiError> {
        if !ROLES.contains(&self.role.as_str()) {
            return Err(ApiError::FieldValue {
                param: format!("messages[{at}].role"),
                expected: "`system`, `user` or `assistant`".to_owned(),
                found: format!("`{}`", clipped(&self.role)),
            });
        }
        let content = match self.content {
            Content::Text(text) => text,
            Content::Parts(parts) => {
                let texts: Vec<_> = parts.into_iter().map(|Part::Text { text }| text).collect();
                texts.join("\n")
            }
        };
        Ok(Message {
            role: self.role,
            content,
        })
    }
}
