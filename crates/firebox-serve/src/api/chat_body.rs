//! The body of a chat completion: its fields, and the messages as OpenAI's clients write them.

use firebox_data::Message;
use serde::Deserialize;
use serde_json::Number;

use super::envelope::n_logprobs;
use super::streaming::{StreamOptions, Streaming};
use crate::{
    body::Schema,
    error::{ApiError, clipped},
    sampling::wrong,
    structured::ResponseFormat,
    tools::{Call, Tool, ToolChoice, Tools},
};

pub(crate) const SCHEMA: Schema = Schema {
    required: &["messages"],
    optional: &[
        "n",
        "logprobs",
        "top_logprobs",
        "parallel_tool_calls",
        "response_format",
        "stream_options",
        "tool_choice",
        "tools",
    ],
    samples: true,
    unsupported: &[
        ("audio", "null"),
        ("function_call", "\"none\""),
        ("functions", "[]"),
        ("metadata", "{}"),
        ("modalities", "[\"text\"]"),
        ("prediction", "null"),
        ("prompt_cache_key", "null"),
        ("reasoning_effort", "\"none\""),
        ("safety_identifier", "null"),
        ("prompt_cache_retention", "null"),
        ("service_tier", "\"auto\""),
        ("store", "false"),
        ("verbosity", "null"),
        ("web_search_options", "null"),
    ],
};

/// Roles a chat template knows.
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool"];

/// The fields that are not about sampling.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatFields {
    pub(crate) model: Option<String>,
    messages: Vec<MessageFields>,
    pub(crate) n: Option<Number>,
    logprobs: Option<bool>,
    top_logprobs: Option<Number>,
    pub(crate) response_format: Option<ResponseFormat>,
    tools: Option<Vec<Tool>>,
    tool_choice: Option<ToolChoice>,
    parallel_tool_calls: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageFields {
    role: String,
    content: Option<Content>,
    /// What the assistant called.
    tool_calls: Option<Vec<CallFields>>,
    /// Which call a `tool` answers: calls are answered in their order.
    #[serde(rename = "tool_call_id")]
    _tool_call_id: Option<String>,
    /// What clients send back of an answer: nothing in it is for the model.
    #[serde(rename = "refusal")]
    _refusal: Option<()>,
    #[serde(rename = "annotations")]
    _annotations: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(rename = "audio")]
    _audio: Option<()>,
    #[serde(rename = "function_call")]
    _function_call: Option<()>,
    #[serde(rename = "name")]
    _name: Option<()>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CallFields {
    Function { function: CalledFunction },
}

#[derive(Debug, Deserialize)]
struct CalledFunction {
    name: String,
    /// JSON as a text.
    arguments: String,
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

impl ChatFields {
    /// Whether to stream, and the count of tokens at the end.
    pub(crate) fn streaming(&self) -> Result<Streaming, ApiError> {
        Streaming::of(self.stream, self.stream_options.as_ref())
    }

    /// How many of the likeliest tokens go with each token; none unless `logprobs` is true.
    pub(crate) fn n_logprobs(&self) -> Result<Option<usize>, ApiError> {
        let n = n_logprobs("top_logprobs", &self.top_logprobs)?;
        match (self.logprobs, n) {
            (Some(true), n) => Ok(Some(n.unwrap_or(0))),
            (_, None | Some(0)) => Ok(None),
            (_, Some(n)) => Err(wrong(
                "top_logprobs",
                "none where `logprobs` is not true",
                &n.to_string(),
            )),
        }
    }

    /// The functions that may be called.
    pub(crate) fn tools(&mut self) -> Result<Option<Tools>, ApiError> {
        let tools = self.tools.take().unwrap_or_default();
        Tools::new(tools, self.tool_choice.take(), self.parallel_tool_calls)
    }

    /// The conversation, with what the model is told of functions.
    pub(crate) fn messages(self, tools: Option<&Tools>) -> Result<Vec<Message>, ApiError> {
        let mut messages = MessageFields::check_all(self.messages)?;
        if let Some(tools) = tools {
            let instructions = tools.instructions();
            match messages.first_mut().filter(|first| first.role == "system") {
                Some(system) => {
                    system.content.push_str("\n\n");
                    system.content.push_str(&instructions);
                }
                None => messages.insert(0, Message::system(instructions)),
            }
        }
        Ok(messages)
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
                expected: "`system`, `developer`, `user`, `assistant` or `tool`".to_owned(),
                found: format!("`{}`", clipped(&self.role)),
            });
        }
        let calls = self.tool_calls.unwrap_or_default();
        let text = match self.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let texts: Vec<_> = parts.into_iter().map(|Part::Text { text }| text).collect();
                texts.join("\n")
            }
            None if calls.is_empty() => {
                return Err(wrong(&format!("messages[{at}].content"), "a text", "none"));
            }
            None => String::new(),
        };
        let mut lines: Vec<String> = Some(text)
            .filter(|text| !text.is_empty())
            .into_iter()
            .collect();
        for CallFields::Function { function } in calls {
            let arguments = serde_json::from_str(&function.arguments).map_err(|_| {
                let param = format!("messages[{at}].tool_calls");
                wrong(&param, "JSON as `arguments`", "something else")
            })?;
            let name = function.name;
            lines.push(Call { name, arguments }.text());
        }
        let content = lines.join("\n");
        // Templates know three roles.
        Ok(match self.role.as_str() {
            "developer" => Message::system(content),
            "tool" => Message::user(format!("<tool_response>\n{content}\n</tool_response>")),
            _ => Message {
                role: self.role,
                content,
            },
        })
    }
}
