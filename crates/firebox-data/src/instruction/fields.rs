//! Reading the fields of a line, with errors that say where.

use serde_json::{Map, Value};

use super::{InstructionError, InstructionFormat};
use crate::Message;

/// Fields named in an error message, and characters of a name or text, at most.
const MAX_NAMES_SHOWN: usize = 8;
const MAX_CHARS_SHOWN: usize = 32;

/// The fields of a line, read as those of a format.
pub(super) struct Fields<'a> {
    format: InstructionFormat,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(format: InstructionFormat, fields: &'a Map<String, Value>) -> Self {
        Self { format, fields }
    }

    /// The first of some names that the line has; the first of all if it has none.
    pub(super) fn first_of(&self, names: &[&'static str]) -> &'static str {
        let mut names = names.iter().copied();
        let first = names.clone().next().unwrap_or_default();
        names.find(|name| self.get(name).is_some()).unwrap_or(first)
    }

    pub(super) fn is_list(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Array(_)))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, InstructionError> {
        self.optional_text(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, InstructionError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a text", other)),
        }
    }

    /// A list of messages that is not empty.
    pub(super) fn messages(&self, name: &str) -> Result<Vec<Message>, InstructionError> {
        let value = self.get(name).ok_or_else(|| self.missing(name))?;
        let list = match value {
            Value::Array(list) if !list.is_empty() => list,
            other => return Err(self.wrong(name, "a list of messages", other)),
        };
        let places = list.iter().enumerate();
        places
            .map(|(index, value)| self.message(&format!("{name}[{index}]"), value))
            .collect()
    }

    /// A list of pairs of texts; empty if it is not there.
    pub(super) fn pairs(&self, name: &str) -> Result<Vec<(&'a str, &'a str)>, InstructionError> {
        let list = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(self.wrong(name, "a list of pairs", other)),
        };
        let pairs = list.iter().enumerate().map(|(index, value)| {
            let pair = match value.as_array().map(Vec::as_slice) {
                Some([Value::String(question), Value::String(answer)]) => Some((question, answer)),
                _ => None,
            };
            pair.map(|(question, answer)| (question.as_str(), answer.as_str()))
                .ok_or_else(|| {
                    self.wrong(
                        &format!("{name}[{index}]"),
                        "a question and an answer",
                        value,
                    )
                })
        });
        pairs.collect()
    }

    /// `{"role": .., "content": ..}` or `{"from": .., "value": ..}`, in either kind of list: data
    /// sets mix them.
    fn message(&self, place: &str, value: &Value) -> Result<Message, InstructionError> {
        let Some(fields) = value.as_object() else {
            return Err(self.wrong(place, "an object with a role and a content", value));
        };
        let get = |name| fields.get(name).filter(|value| !value.is_null());
        let is_share_gpt = get("role").is_none() && get("from").is_some();
        let (who, what) = match is_share_gpt {
            true => ("from", "value"),
            false => ("role", "content"),
        };
        let at = |name: &str| format!("{place}.{name}");
        let missing = |name: &str| self.missing_at(at(name), fields);
        let role = match get(who) {
            Some(Value::String(role)) => role,
            Some(other) => return Err(self.wrong(&at(who), "a text", other)),
            None => return Err(missing(who)),
        };
        let role = match is_share_gpt {
            true => self.role_of_speaker(at(who), role)?,
            false => role.as_str(),
        };
        let content = get(what).ok_or_else(|| missing(what))?;
        Ok(Message {
            role: role.to_string(),
            content: self.content(&at(what), content)?,
        })
    }

    /// A text, or a list of parts that are texts.
    fn content(&self, place: &str, value: &Value) -> Result<String, InstructionError> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Array(parts) => parts
                .iter()
                .enumerate()
                .map(|(index, part)| {
                    let text = part["text"].as_str().or_else(|| part.as_str());
                    text.ok_or_else(|| {
                        self.wrong(&format!("{place}[{index}]"), "a text part", part)
                    })
                })
                .collect(),
            other => Err(self.wrong(place, "a text", other)),
        }
    }

    fn role_of_speaker(
        &self,
        place: String,
        speaker: &str,
    ) -> Result<&'static str, InstructionError> {
        match speaker {
            "human" | "user" => Ok("user"),
            "gpt" | "chatgpt" | "assistant" | "model" | "bot" | "bard" | "bing" => Ok("assistant"),
            "system" => Ok("system"),
            other => Err(InstructionError::UnknownSpeaker {
                format: self.format,
                field: place,
                found: short(other),
            }),
        }
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn missing(&self, name: &str) -> InstructionError {
        self.missing_at(name.to_string(), self.fields)
    }

    fn missing_at(&self, field: String, fields: &Map<String, Value>) -> InstructionError {
        InstructionError::MissingField {
            format: self.format,
            field,
            found: names_of(fields),
        }
    }

    pub(super) fn wrong(
        &self,
        place: &str,
        expected: &'static str,
        found: &Value,
    ) -> InstructionError {
        InstructionError::WrongType {
            format: self.format,
            field: place.to_string(),
            expected,
            found: kind_of(found),
        }
    }
}

/// The fields of an object, for an error message.
pub(super) fn names_of(fields: &Map<String, Value>) -> String {
    if fields.is_empty() {
        return "no fields".to_string();
    }
    let names = fields
        .iter()
        .take(MAX_NAMES_SHOWN)
        .map(|(name, value)| match value {
            Value::Null => format!("`{}` (null)", short(name)),
            _ => format!("`{}`", short(name)),
        });
    let more = if fields.len() > MAX_NAMES_SHOWN {
        ", .."
    } else {
        ""
    };
    names.collect::<Vec<_>>().join(", ") + more
}

/// What kind of value this is, for an error message.
fn kind_of(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text `{}`", short(text)),
        Value::Array(list) if list.is_empty() => "an empty list".to_string(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(fields) => format!("an object with {}", names_of(fields)),
        other => format!("`{other}`"),
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_CHARS_SHOWN).collect()
}
