//! Conversations as examples: loss on the assistant's words only.

use std::ops::Range;

use crate::{ChatTemplate, DataError, Example, IGNORE_LABEL, Message, Tokenizer};

/// Stands for the assistant's words while the text around them is looked for; a noncharacter.
const PLACEHOLDER: &str = "\u{fdd0}";

/// Encodes a conversation, with loss on what the assistant says and on the mark that ends its
/// turn, and on nothing else.
///
/// Where the template marks the assistant's words with `{% generation %}`, those marks decide.
/// Elsewhere the words are found by difference: what a turn adds to the conversation before it,
/// rendered up to the point where the assistant would begin. Blanks after the end mark belong to
/// the template, not to the assistant.
///
/// The ids are those of the whole text. Only where a token would join the last blank of the
/// template with the first of the assistant's are both sides encoded apart, as in generation,
/// where the prompt comes first.
///
/// # Errors
/// [`DataError::RenderTemplate`] and [`DataError::Encode`]; [`DataError::NotPrefixStable`] if the
/// template rewrites earlier turns; [`DataError::NoAssistantTurn`] if nothing is left to learn.
///
/// # Examples
/// ```
/// use firebox_data::{ChatTemplate, Message, encode_chat, train_byte_level_bpe};
///
/// # fn main() -> Result<(), firebox_data::DataError> {
/// let special_tokens = ["<|im_start|>", "<|im_end|>"];
/// let tokenizer = train_byte_level_bpe(["a text"], 300, &special_tokens)?;
/// let messages = [Message::user("Is fire hot?"), Message::assistant("Yes.")];
/// let example = encode_chat(&tokenizer, &ChatTemplate::chatml(), &messages)?;
/// let learned: Vec<u32> =
///     example.labels.iter().filter_map(|&label| u32::try_from(label).ok()).collect();
/// assert_eq!(tokenizer.decode(&learned, false), "Yes.<|im_end|>");
/// # Ok(())
/// # }
/// ```
pub fn encode_chat(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
) -> Result<Example, DataError> {
    encode_chat_after(tokenizer, template, messages, 0)
}

/// As [`encode_chat`], with loss only on what the assistant says after the first `n_prompt_messages`:
/// earlier turns are given, not learned, as the prompt of a preference is.
///
/// # Errors
/// As [`encode_chat`].
pub fn encode_chat_after(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
    n_prompt_messages: usize,
) -> Result<Example, DataError> {
    let n_prompt = n_prompt_messages.min(messages.len());
    let (text, spans) = if template.marks_generation() {
        marked_spans(template, messages, n_prompt)?
    } else {
        spans_by_difference(template, messages, n_prompt)?
    };
    if spans.iter().all(Range::is_empty) {
        return Err(DataError::NoAssistantTurn {
            n_messages: messages.len(),
        });
    }
    encode_spans(tokenizer, &text, &spans)
}

/// Encodes a text, with labels inside the spans, which go from left to right.
pub(crate) fn encode_spans(
    tokenizer: &Tokenizer,
    text: &str,
    spans: &[Range<usize>],
) -> Result<Example, DataError> {
    let encoding = tokenizer.encode_with_ranges(text)?;
    let crosses = |token: &Range<usize>, bound: usize| token.start < bound && bound < token.end;
    let is_crossed = encoding.ranges.iter().any(|token| {
        let first = spans.partition_point(|span| span.end <= token.start);
        let spans = spans[first..]
            .iter()
            .take_while(|span| span.start < token.end);
        spans
            .into_iter()
            .any(|span| crosses(token, span.start) || crosses(token, span.end))
    });
    // A token across a bound (two line breaks, one of them the template's) is one that the model
    // never writes after its prompt: encode the sides apart, if the tokenizer can.
    if is_crossed && let Some(example) = encode_apart(tokenizer, text, spans)? {
        return Ok(example);
    }
    let mut spans = spans.iter().peekable();
    let mut labels = Vec::with_capacity(encoding.ids.len());
    for (&id, token) in encoding.ids.iter().zip(&encoding.ranges) {
        while spans.next_if(|span| span.end <= token.start).is_some() {}
        let has_loss = spans
            .peek()
            .is_some_and(|span| span.start < token.end.max(token.start + 1));
        labels.push(if has_loss {
            i64::from(id)
        } else {
            IGNORE_LABEL
        });
    }
    Ok(Example {
        input_ids: encoding.ids,
        labels,
    })
}

/// Encodes the text inside and outside the spans piece by piece; none if the pieces do not make
/// the text again, as with tokenizers that write a blank before whatever they are given.
fn encode_apart(
    tokenizer: &Tokenizer,
    text: &str,
    spans: &[Range<usize>],
) -> Result<Option<Example>, DataError> {
    let mut example = Example::default();
    let mut position = 0;
    for span in spans {
        let outside = tokenizer.encode(&text[position..span.start])?;
        example.labels.extend(outside.iter().map(|_| IGNORE_LABEL));
        example.input_ids.extend(outside);
        let inside = Example::from_ids(tokenizer.encode(&text[span.clone()])?);
        example.labels.extend(inside.labels);
        example.input_ids.extend(inside.input_ids);
        position = span.end;
    }
    let rest = tokenizer.encode(&text[position..])?;
    example.labels.extend(rest.iter().map(|_| IGNORE_LABEL));
    example.input_ids.extend(rest);
    Ok((tokenizer.decode(&example.input_ids, false) == text).then_some(example))
}

/// Renders the whole conversation, and takes the template's marks behind the prompt.
fn marked_spans(
    template: &ChatTemplate,
    messages: &[Message],
    n_prompt: usize,
) -> Result<(String, Vec<Range<usize>>), DataError> {
    let (text, mut spans) = template.render_marked(messages)?;
    if n_prompt > 0 {
        let prompt = template.render(&messages[..n_prompt], false)?;
        if !text.starts_with(&prompt) {
            return Err(DataError::NotPrefixStable { message: n_prompt });
        }
        spans.retain(|span| span.start >= prompt.len());
    }
    Ok((text, spans))
}

/// Renders the whole conversation and finds the assistant's words behind the prompt in it.
fn spans_by_difference(
    template: &ChatTemplate,
    messages: &[Message],
    n_prompt: usize,
) -> Result<(String, Vec<Range<usize>>), DataError> {
    let text = template.render(messages, false)?;
    let mut spans = Vec::new();
    for (index, message) in messages.iter().enumerate().skip(n_prompt) {
        if message.role == "assistant" {
            let turn = template.render(&messages[..=index], false)?;
            if !text.starts_with(&turn) {
                return Err(DataError::NotPrefixStable { message: index });
            }
            spans.push(assistant_span(template, &messages[..index], &turn)?);
        }
    }
    Ok((text, spans))
}

/// Where the words of one assistant turn and its end mark are, in bytes: `turn` is the rendered
/// conversation up to and with it, `before` are the messages before it.
fn assistant_span(
    template: &ChatTemplate,
    before: &[Message],
    turn: &str,
) -> Result<Range<usize>, DataError> {
    let index = before.len();
    // Some templates refuse an empty conversation; nothing is before the first message then.
    let render_before = |add_generation_prompt| match template.render(before, add_generation_prompt)
    {
        Err(_) if before.is_empty() => Ok(String::new()),
        rendered => rendered,
    };
    let history = render_before(false)?;
    let prompt = render_before(true)?;

    // What the template writes around the words of this turn.
    let mut probe = before.to_vec();
    probe.push(Message::assistant(PLACEHOLDER));
    let probe = template.render(&probe, false)?;
    let (head, tail) = match probe.rsplit_once(PLACEHOLDER) {
        Some((head, tail)) if turn.starts_with(head) && turn.ends_with(tail) => (head, tail),
        _ => return Err(DataError::NotPrefixStable { message: index }),
    };

    let has_prompt = prompt != history && head.starts_with(&prompt);
    let start = if has_prompt {
        prompt.len()
    } else if !head.starts_with(&history) {
        return Err(DataError::NotPrefixStable { message: index });
    } else if head[history.len()..].trim().is_empty() {
        // No header before the words: a blank before them is the model's to write.
        history.len()
    } else {
        // After `assistant: ` the model would be asked at the colon.
        head.trim_end_matches(' ').len()
    };
    let end_mark = tail.trim_end();
    let n_kept = if end_mark.is_empty() {
        tail.len()
    } else {
        end_mark.len()
    };
    Ok(start..turn.len() - (tail.len() - n_kept))
}

#[cfg(test)]
mod tests;
