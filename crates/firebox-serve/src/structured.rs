//! What an answer must look like: `response_format` as OpenAI's clients write it, and
//! `structured_outputs` as vLLM's do.

use firebox_engine::Grammar;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{error::ApiError, sampling::wrong};

/// OpenAI's `response_format`.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: NamedSchema },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "what says nothing about the answer is read and left"
)]
pub(crate) struct NamedSchema {
    name: String,
    description: Option<String>,
    schema: Option<Value>,
    /// Every schema is followed strictly here.
    strict: Option<bool>,
}

impl ResponseFormat {
    pub(crate) fn grammar(self) -> Option<Grammar> {
        let object = || json!({"type": "object"});
        match self {
            Self::Text => None,
            Self::JsonObject => Some(Grammar::JsonSchema(object())),
            Self::JsonSchema { json_schema } => Some(Grammar::JsonSchema(
                json_schema.schema.unwrap_or_else(object),
            )),
        }
    }
}

/// vLLM's `structured_outputs`: one of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StructuredOutputs {
    json: Option<Value>,
    regex: Option<String>,
    choice: Option<Vec<String>>,
    grammar: Option<String>,
}

impl StructuredOutputs {
    pub(crate) fn grammar(self) -> Result<Grammar, ApiError> {
        let Self {
            json,
            regex,
            choice,
            grammar,
        } = self;
        if choice
            .as_ref()
            .is_some_and(|texts| texts.is_empty() || texts.iter().any(String::is_empty))
        {
            let expected = "at least one text, none of them empty";
            return Err(wrong("structured_outputs.choice", expected, "fewer"));
        }
        let given = [
            json.map(Grammar::JsonSchema),
            regex.map(Grammar::Regex),
            choice.map(Grammar::Choice),
            grammar.map(Grammar::Lark),
        ];
        let mut given: Vec<Grammar> = given.into_iter().flatten().collect();
        match (given.pop(), given.len()) {
            (Some(grammar), 0) => Ok(grammar),
            (_, others) => {
                let expected = "one of `json`, `regex`, `choice`, `grammar`";
                let found = if others == 0 { "none" } else { "several" };
                Err(wrong("structured_outputs", expected, found))
            }
        }
    }
}
