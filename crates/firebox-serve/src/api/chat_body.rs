//! The body of a chat completion: its fields, and the messages as OpenAI's clients write them.

use serde::Deserialize;

use crate::{
    ChatMessage,
    body::Schema,
    error::{ApiError, clipped},
};

pub(crate) const SCHEMA: Schema = Schema {
    required: &["messages"],
    optional: &[
        "model",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "seed",
        "stop",
        "stream",
        "stream_options",
        // Who asks, for abuse reports: it changes nothing, and clients send it.
        "user",
    ],
    unsupported: &[
        ("audio", "null"),
        ("frequency_penalty", "0"),
        ("function_call", "\"none\""),
        ("functions", "[]"),
        ("logit_bias", "{}"),
        ("logprobs", "false"),
        ("metadata", "{}"),
        ("modalities", "[\"text\"]"),
        ("n", "1"),
        ("parallel_tool_calls", "false"),
        ("prediction", "null"),
        ("presence_penalty", "0"),
        ("prompt_cache_key", "null"),
        ("reasoning_effort", "\"none\""),
        ("response_format", "{\"type\":\"text\"}"),
        ("safety_identifier", "null"),
        ("service_tier", "null"),
        ("store", "false"),
        ("tool_choice", "\"none\""),
        ("tools", "[]"),
        ("top_logprobs", "0"),
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
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageFields {
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

/// Whether the answer is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streaming {
    Whole,
    Streamed { with_usage: bool },
}

impl ChatFields {
    /// Whether to stream, and the count of tokens at the end.
    pub(crate) fn streaming(&self) -> Result<Streaming, ApiError> {
        match (self.stream, &self.stream_options) {
            (Some(true), options) => Ok(Streaming::Streamed {
                with_usage: options
                    .as_ref()
                    .and_then(|o| o.include_usage)
                    .unwrap_or(false),
            }),
            (_, None) => Ok(Streaming::Whole),
            (_, Some(_)) => Err(ApiError::FieldValue {
                param: "stream_options".to_owned(),
                expected: "none where `stream` is not true".to_owned(),
                found: "some".to_owned(),
            }),
        }
    }

    /// The conversation.
    pub(crate) fn messages(self) -> Result<Vec<ChatMessage>, ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::FieldValue {
                param: "messages".to_owned(),
                expected: "at least one message".to_owned(),
                found: "none".to_owned(),
            });
        }
        self.messages
            .into_iter()
            .enumerate()
            .map(|(at, message)| message.check(at))
            .collect()
    }
}

impl MessageFields {
    fn check(self, at: usize) -> Result<ChatMessage, ApiError> {
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
        Ok(ChatMessage {
            role: self.role,
            content,
        })
    }
}
