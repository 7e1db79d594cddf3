//! Probabilities of tokens, in the two shapes that OpenAI's clients know.

use firebox_data::Tokenizer;
use firebox_engine::TokenLogprobs;
use serde_json::{Map, Value, json};

/// What JSON has for minus infinity, as OpenAI writes it.
const LEAST: f32 = -9999.0;

/// Of a chat's token.
pub(crate) fn of_chat(tokenizer: &Tokenizer, token: &TokenLogprobs) -> Value {
    let entry = |id: u32, logprob: f32| {
        json!({
            "token": text(tokenizer, id),
            "logprob": logprob.max(LEAST),
            "bytes": tokenizer.token_bytes(id),
        })
    };
    let mut own = entry(token.id, token.logprob);
    let top = token.top.iter().map(|(id, logprob)| entry(*id, *logprob));
    own["top_logprobs"] = top.collect();
    own
}

/// Of a completion's tokens, the prompt's before them where it is echoed: four lists that go
/// together.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Vec<Option<Map<String, Value>>>,
    text_offset: Vec<usize>,
}

impl Lists {
    /// Adds a token, and whether its text is shown where it is a special one.
    pub(crate) fn push(
        &mut self,
        tokenizer: &Tokenizer,
        (id, shows_special): (u32, bool),
        logprobs: Option<&TokenLogprobs>,
        offset: &mut TextOffset,
    ) {
        self.text_offset.push(offset.n_chars);
        if shows_special || !tokenizer.is_special(id) {
            offset.add(&tokenizer.token_bytes(id));
        }
        let token = text(tokenizer, id);
        self.tokens.push(token);
        self.token_logprobs
            .push(logprobs.map(|found| found.logprob.max(LEAST)));
        self.top_logprobs.push(logprobs.map(|found| {
            let own = std::iter::once((found.id, found.logprob));
            let mut map = Map::new();
            // The token itself is always among them.
            for (id, logprob) in found.top.iter().copied().chain(own) {
                map.entry(text(tokenizer, id))
                    .or_insert_with(|| json!(logprob.max(LEAST)));
            }
            map
        }));
    }

    pub(crate) fn json(self) -> Value {
        json!({
            "tokens": self.tokens,
            "token_logprobs": self.token_logprobs,
            "top_logprobs": self.top_logprobs,
            "text_offset": self.text_offset,
        })
    }
}

/// How many characters of a text are whole, while its bytes come.
#[derive(Debug, Default)]
pub(crate) struct TextOffset {
    n_chars: usize,
    /// Bytes that the last character lacks.
    n_missing: usize,
}

impl TextOffset {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match (byte.leading_ones(), self.n_missing) {
                (1, n_missing @ 2..) => self.n_missing = n_missing - 1,
                (n_bytes @ 2..=4, _) => self.n_missing = n_bytes as usize - 1,
                _ => {
                    self.n_missing = 0;
                    self.n_chars += 1;
                }
            }
        }
    }
}

/// A token by itself. What is no whole character is written as bytes.
pub(crate) fn text(tokenizer: &Tokenizer, id: u32) -> String {
    let bytes = tokenizer.token_bytes(id);
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let escaped = error.as_bytes().iter().map(|byte| format!("\\x{byte:02x}"));
        format!("bytes:{}", escaped.collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_count_when_they_are_whole() {
        let mut offset = TextOffset::default();
        let mut seen = Vec::new();
        for byte in "é水a😀".as_bytes() {
            offset.add(&[*byte]);
            seen.push(offset.n_chars);
        }
        assert_eq!(seen, [0, 1, 1, 1, 2, 3, 3, 3, 3, 4]);
    }
}
