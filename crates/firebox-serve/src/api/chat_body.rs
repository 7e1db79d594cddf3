//! The body of a chat completion: its fields, and the messages as OpenAI's clients write them.

use std::sync::LazyLock;

use firebox_data::Message;
use serde::Deserialize;
use serde_json::Number;
use utoipa::ToSchema;

use super::streaming::{StreamOptions, Streaming};
use crate::{
    error::ApiError,
    sampling::{SamplingFields, count, wrong},
    schema::{Schema, body_type, only_null},
    structured::ResponseFormat,
    tools::{Call, Kind, Tool, ToolChoice, Tools},
};

/// What the API has and this server does not.
const UNSUPPORTED: &[(&str, &str)] = &[
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
];

pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::of::<ChatFields>()
        .and::<SamplingFields>()
        .without(UNSUPPORTED)
});

body_type!(ChatBody, "ChatRequest", SCHEMA);

/// The fields that are not about sampling.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ChatFields {
    /// The model's name, or an adapter's; the model alone unless given.
    pub(crate) model: Option<String>,
    /// The conversation so far.
    #[schema(min_items = 1)]
    messages: Vec<MessageFields>,
    /// Answers to be given.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 128, default = 1)]
    pub(crate) n: Option<Number>,
    /// Whether the probability of each token is told.
    #[schema(default = false)]
    logprobs: Option<bool>,
    /// How many of the likeliest tokens are told in the place of each; only where `logprobs` is true.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 20, default = 0)]
    top_logprobs: Option<Number>,
    /// What the answer must look like.
    pub(crate) response_format: Option<ResponseFormat>,
    /// Functions that the model may call.
    #[schema(max_items = 128)]
    tools: Option<Vec<Tool>>,
    /// Whether functions are called; `auto` unless given.
    tool_choice: Option<ToolChoice>,
    /// Whether an answer may have several calls.
    #[schema(default = true)]
    parallel_tool_calls: Option<bool>,
    /// Whether the answer comes token by token, as server-sent events.
    #[schema(default = false)]
    stream: Option<bool>,
    /// What a stream has besides the answer.
    stream_options: Option<StreamOptions>,
}

/// One turn of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Message)]
pub(crate) struct MessageFields {
    /// Who speaks.
    role: Role,
    /// What is said; needed unless there are `tool_calls`.
    content: Option<Content>,
    /// What the assistant called.
    tool_calls: Option<Vec<CallFields>>,
    /// Which call a `tool` answers: calls are answered in their order.
    #[serde(rename = "tool_call_id")]
    _tool_call_id: Option<String>,
    /// What clients send back of an answer: nothing in it is for the model.
    #[serde(rename = "refusal")]
    #[schema(schema_with = only_null)]
    _refusal: Option<()>,
    /// As `refusal`.
    #[serde(rename = "annotations")]
    #[schema(value_type = Option<Vec<Value>>)]
    _annotations: Option<Vec<serde::de::IgnoredAny>>,
    /// As `refusal`.
    #[serde(rename = "audio")]
    #[schema(schema_with = only_null)]
    _audio: Option<()>,
    /// As `refusal`.
    #[serde(rename = "function_call")]
    #[schema(schema_with = only_null)]
    _function_call: Option<()>,
    /// Names of speakers are not supported.
    #[serde(rename = "name")]
    #[schema(schema_with = only_null)]
    _name: Option<()>,
}

/// Who speaks. `developer` is another word for `system`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

/// A call of a function, as an answer has it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ToolCallSentBack)]
struct CallFields {
    #[serde(rename = "type")]
    _kind: Kind,
    function: CalledFunction,
}

/// Which function, and with what.
#[derive(Debug, Deserialize, ToSchema)]
struct CalledFunction {
    /// The function's name.
    name: String,
    /// JSON as a text.
    arguments: String,
}

/// A text, or parts to be joined.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected a string or an array of `{\"type\":\"text\",\"text\":…}`"
)]
#[schema(as = MessageContent)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of a text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ContentPart)]
struct Part {
    #[serde(rename = "type")]
    _kind: PartKind,
    text: String,
}

/// The only kind of part there is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ContentPartKind)]
enum PartKind {
    Text,
}

impl ChatFields {
    /// Whether to stream, and the count of tokens at the end.
    pub(crate) fn streaming(&self) -> Result<Streaming, ApiError> {
        Streaming::of(self.stream, self.stream_options.as_ref())
    }

    /// How many of the likeliest tokens go with each token; none unless `logprobs` is true.
    pub(crate) fn n_logprobs(&self) -> Result<Option<usize>, ApiError> {
        match (self.logprobs, count(&self.top_logprobs)) {
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
        let calls = self.tool_calls.unwrap_or_default();
        let text = match self.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let texts: Vec<_> = parts.into_iter().map(|part| part.text).collect();
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
        for CallFields { function, .. } in calls {
            let arguments = serde_json::from_str(&function.arguments).map_err(|_| {
                let param = format!("messages[{at}].tool_calls");
                wrong(&param, "JSON as `arguments`", "something else")
            })?;
            let name = function.name;
            lines.push(Call { name, arguments }.text());
        }
        let content = lines.join("\n");
        // Templates know three roles.
        Ok(match self.role {
            Role::System | Role::Developer => Message::system(content),
            Role::User => Message::user(content),
            Role::Assistant => Message::assistant(content),
            Role::Tool => Message::user(format!("<tool_response>\n{content}\n</tool_response>")),
        })
    }
}
