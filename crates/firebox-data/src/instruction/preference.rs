//! Preferences: a better and a worse answer to one prompt.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::InstructionError;
use super::fields::Fields;
use crate::Message;

/// A better and a worse answer to one prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// What both answer; at least one message.
    pub prompt: Vec<Message>,
    /// The better answer: one turn as a rule.
    pub chosen: Vec<Message>,
    /// The worse answer.
    pub rejected: Vec<Message>,
}

/// Texts become turns. Where the answers are lists that begin alike, what they share is the prompt,
/// unless it is given apart.
pub(super) fn parse(fields: &Fields<'_>) -> Result<Preference, InstructionError> {
    let chosen = answer(fields, "chosen")?;
    let rejected = answer(fields, "rejected")?;
    let prompt = match fields.get("prompt") {
        None => Vec::new(),
        Some(Value::String(prompt)) => vec![Message::user(prompt)],
        Some(_) => fields.messages("prompt")?,
    };
    // The prompt repeated at the head of both, or only there.
    let n_shared = chosen
        .iter()
        .zip(&rejected)
        .take_while(|(a, b)| a == b)
        .count();
    // Answers that are alike share their last turn, too, which is no prompt.
    let n_shared = match n_shared == chosen.len() || n_shared == rejected.len() {
        true => n_shared.saturating_sub(1),
        false => n_shared,
    };
    let repeats_prompt = chosen[..n_shared].ends_with(&prompt);
    if !repeats_prompt || n_shared == 0 {
        if prompt.is_empty() {
            return Err(match fields.get("chosen") {
                Some(text @ Value::String(_)) => fields.wrong(
                    "chosen",
                    "a list of messages, as there is no `prompt`,",
                    text,
                ),
                _ => fields.missing("prompt"),
            });
        }
        return Ok(Preference {
            prompt,
            chosen,
            rejected,
        });
    }
    Ok(Preference {
        prompt: chosen[..n_shared].to_vec(),
        chosen: chosen[n_shared..].to_vec(),
        rejected: rejected[n_shared..].to_vec(),
    })
}

fn answer(fields: &Fields<'_>, name: &str) -> Result<Vec<Message>, InstructionError> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(vec![Message::assistant(text)]),
        _ => fields.messages(name),
    }
}
