//! Instructions as examples: loss on what is to be learned only.

use super::{Instruction, Preference};
use crate::chat_example::encode_spans;
use crate::{
    ChatTemplate, DataError, Example, IGNORE_LABEL, Message, Tokenizer, encode_chat_after,
};

/// The two sides of a preference, with loss on the answers only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferencePair {
    /// The prompt and the better answer.
    pub chosen: Example,
    /// The prompt and the worse answer.
    pub rejected: Example,
}

/// Encodes an instruction: a conversation as [`encode_chat`](crate::encode_chat), with loss behind
/// its prompt only; a completion as plain text behind the tokenizer's document prefix, with `end_id`
/// after it, which is learned, too; of a preference the better answer, for fine-tuning.
///
/// # Errors
/// As [`encode_chat`](crate::encode_chat), and [`DataError::NoTemplate`] for messages without a
/// template.
pub fn encode_instruction(
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    end_id: Option<u32>,
    instruction: &Instruction,
) -> Result<Example, DataError> {
    let with_template = || template.ok_or(DataError::NoTemplate);
    match instruction {
        Instruction::Chat {
            messages,
            n_prompt_messages,
        } => encode_chat_after(tokenizer, with_template()?, messages, *n_prompt_messages),
        Instruction::Completion { prompt, completion } => {
            encode_completion(tokenizer, end_id, prompt, completion)
        }
        Instruction::Preference(preference) => {
            Ok(encode_preference(tokenizer, with_template()?, preference)?.chosen)
        }
    }
}

/// Encodes both sides of a preference.
///
/// # Errors
/// As [`encode_chat`](crate::encode_chat).
pub fn encode_preference(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    preference: &Preference,
) -> Result<PreferencePair, DataError> {
    let encode = |answer: &[Message]| {
        let messages = [&preference.prompt[..], answer].concat();
        encode_chat_after(tokenizer, template, &messages, preference.prompt.len())
    };
    Ok(PreferencePair {
        chosen: encode(&preference.chosen)?,
        rejected: encode(&preference.rejected)?,
    })
}

fn encode_completion(
    tokenizer: &Tokenizer,
    end_id: Option<u32>,
    prompt: &str,
    completion: &str,
) -> Result<Example, DataError> {
    let text = format!("{prompt}{completion}");
    let body = encode_spans(
        tokenizer,
        &text,
        std::slice::from_ref(&(prompt.len()..text.len())),
    )?;
    let prefix = tokenizer.document_prefix();
    Ok(Example {
        input_ids: prefix
            .iter()
            .copied()
            .chain(body.input_ids)
            .chain(end_id)
            .collect(),
        labels: prefix
            .iter()
            .map(|_| IGNORE_LABEL)
            .chain(body.labels)
            .chain(end_id.map(i64::from))
            .collect(),
    })
}
