//! Instruction and preference data, in the formats that data sets come in.

mod encode;
mod error;
mod fields;
mod preference;
mod read;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Message, Record};
use fields::Fields;

pub use encode::{PreferencePair, encode_instruction, encode_preference};
pub use error::InstructionError;
pub use preference::Preference;
pub use read::read_preferences;

/// What one line of an instruction data set teaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// A conversation, of which the assistant's turns are learned.
    Chat {
        /// All turns.
        messages: Vec<Message>,
        /// How many of the first are given and not learned.
        n_prompt_messages: usize,
    },
    /// A text and how it goes on, without chat template; the prompt is not learned.
    Completion {
        /// What is given.
        prompt: String,
        /// What follows on it directly.
        completion: String,
    },
    /// A better and a worse answer.
    Preference(Preference),
}

/// The form of the lines of an instruction data set.
///
/// # Examples
/// ```
/// use firebox_data::{Instruction, InstructionFormat, Message};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let line = r#"{"instruction": "Translate.", "input": "feu", "output": "fire"}"#;
/// let fields = serde_json::from_str(line)?;
/// let format = InstructionFormat::detect(&fields)?;
/// assert_eq!(format, InstructionFormat::Alpaca);
/// let Instruction::Chat { messages, .. } = format.parse(&fields)? else { panic!() };
/// assert_eq!(messages, [Message::user("Translate.\nfeu"), Message::assistant("fire")]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstructionFormat {
    /// `{"messages": [{"role": .., "content": ..}]}`.
    Messages,
    /// `{"conversations": [{"from": "human" | "gpt" | "system", "value": ..}]}`, with an optional
    /// `system`.
    ShareGpt,
    /// `{"instruction": .., "input": .., "output": ..}`, with optional `input`, `system` and
    /// `history` (pairs of question and answer). Dolly's `context` and `response` are read as `input`
    /// and `output`.
    Alpaca,
    /// `{"prompt": .., "completion": ..}`, both texts or both lists of messages; `response` is read
    /// as `completion`.
    PromptCompletion,
    /// `{"prompt": .., "chosen": .., "rejected": ..}`, of texts or lists of messages; with lists, the
    /// prompt may instead stand at the head of both.
    Preference,
}

/// All formats, with the name of each on the command line and in recipes.
const FORMATS: [(InstructionFormat, &str); 5] = [
    (InstructionFormat::Messages, "messages"),
    (InstructionFormat::ShareGpt, "share-gpt"),
    (InstructionFormat::Alpaca, "alpaca"),
    (InstructionFormat::PromptCompletion, "prompt-completion"),
    (InstructionFormat::Preference, "preference"),
];

const CONVERSATIONS: [&str; 2] = ["conversations", "conversation"];
const INPUT: [&str; 2] = ["input", "context"];
const OUTPUT: [&str; 2] = ["output", "response"];
const COMPLETION: [&str; 2] = ["completion", "response"];

impl InstructionFormat {
    /// The format whose fields a line has.
    ///
    /// # Errors
    /// [`InstructionError::NoFormat`] and [`InstructionError::ManyFormats`], with the fields found.
    pub fn detect(fields: &Map<String, Value>) -> Result<Self, InstructionError> {
        let has = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| fields.get(*name));
            values.any(|value| !value.is_null())
        };
        let fits = |format: Self| match format {
            Self::Messages => has(&["messages"]),
            Self::ShareGpt => has(&CONVERSATIONS),
            Self::Alpaca => has(&["instruction"]) && has(&OUTPUT),
            Self::PromptCompletion => has(&["prompt"]) && has(&COMPLETION),
            Self::Preference => has(&["chosen"]) && has(&["rejected"]),
        };
        let found: Vec<Self> = FORMATS
            .map(|it| it.0)
            .into_iter()
            .filter(|it| fits(*it))
            .collect();
        match found[..] {
            [format] => Ok(format),
            [] => Err(InstructionError::NoFormat {
                found: fields::names_of(fields),
            }),
            [..] => Err(InstructionError::ManyFormats {
                formats: found
                    .iter()
                    .map(|it| format!("`{it}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
                found: fields::names_of(fields),
            }),
        }
    }

    /// Reads the fields of a line of this format; others are passed over.
    ///
    /// # Errors
    /// [`InstructionError`], with the place in the line.
    pub fn parse(self, fields: &Map<String, Value>) -> Result<Instruction, InstructionError> {
        let fields = Fields::new(self, fields);
        match self {
            Self::Messages => Ok(chat(fields.messages("messages")?)),
            Self::ShareGpt => share_gpt(&fields),
            Self::Alpaca => alpaca(&fields),
            Self::PromptCompletion => prompt_completion(&fields),
            Self::Preference => preference::parse(&fields).map(Instruction::Preference),
        }
    }

    /// The name on the command line and in recipes.
    #[must_use]
    pub fn name(self) -> &'static str {
        FORMATS
            .iter()
            .find(|(format, _)| *format == self)
            .map_or("", |(_, name)| name)
    }
}

impl Instruction {
    /// The same as a record, which cannot say what is given and what learned: a conversation of
    /// which every assistant's turn is learned. None for completions and preferences.
    #[must_use]
    pub fn into_record(self) -> Option<Record> {
        match self {
            Self::Chat {
                messages,
                n_prompt_messages: 0,
            } => Some(Record::Chat(messages)),
            _ => None,
        }
    }
}

impl fmt::Display for InstructionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for InstructionFormat {
    type Err = InstructionError;

    fn from_str(name: &str) -> Result<Self, InstructionError> {
        let found = FORMATS.iter().find(|(_, known)| *known == name);
        found
            .map(|(format, _)| *format)
            .ok_or_else(|| InstructionError::UnknownFormat {
                expected: FORMATS.map(|(_, name)| format!("`{name}`")).join(", "),
                found: name.to_string(),
            })
    }
}

fn chat(messages: Vec<Message>) -> Instruction {
    Instruction::Chat {
        messages,
        n_prompt_messages: 0,
    }
}

fn share_gpt(fields: &Fields<'_>) -> Result<Instruction, InstructionError> {
    let mut messages: Vec<Message> = system(fields)?.into_iter().collect();
    messages.extend(fields.messages(fields.first_of(&CONVERSATIONS))?);
    Ok(chat(messages))
}

fn alpaca(fields: &Fields<'_>) -> Result<Instruction, InstructionError> {
    let mut messages: Vec<Message> = system(fields)?.into_iter().collect();
    for (question, answer) in fields.pairs("history")? {
        messages.extend([Message::user(question), Message::assistant(answer)]);
    }
    let mut question = fields.text("instruction")?.to_string();
    let input = fields.optional_text(fields.first_of(&INPUT))?;
    if let Some(input) = input.filter(|input| !input.is_empty()) {
        if !question.is_empty() {
            question.push('\n');
        }
        question.push_str(input);
    }
    let answer = fields.text(fields.first_of(&OUTPUT))?;
    messages.extend([Message::user(question), Message::assistant(answer)]);
    Ok(chat(messages))
}

fn prompt_completion(fields: &Fields<'_>) -> Result<Instruction, InstructionError> {
    let completion = fields.first_of(&COMPLETION);
    if !fields.is_list("prompt") && !fields.is_list(completion) {
        return Ok(Instruction::Completion {
            prompt: fields.text("prompt")?.to_string(),
            completion: fields.text(completion)?.to_string(),
        });
    }
    let mut messages = fields.messages("prompt")?;
    let n_prompt_messages = messages.len();
    messages.extend(fields.messages(completion)?);
    Ok(Instruction::Chat {
        messages,
        n_prompt_messages,
    })
}

fn system(fields: &Fields<'_>) -> Result<Option<Message>, InstructionError> {
    let text = fields.optional_text("system")?;
    Ok(text.filter(|text| !text.is_empty()).map(Message::system))
}

#[cfg(test)]
mod tests;
