//! Decoding token by token, holding back what is not yet a whole character.

use crate::Tokenizer;

/// A window that has not ended in a whole character after this many tokens is cut: what is
/// incomplete in UTF-8 is at most three bytes, so it lies within the last few of them.
const MAX_WINDOW: usize = 32;
const N_KEPT_AT_CUT: usize = 4;

/// Turns token ids into text as they arrive.
///
/// The pieces that [`push`](Self::push) returns, then [`finish`](Self::finish), concatenate to
/// exactly what [`Tokenizer::decode`] gives for all the ids. A piece never ends within a
/// character: a Chinese character or an emoji spread over three tokens comes with the third.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), firebox_data::DataError> {
/// let tokenizer = firebox_data::train_byte_level_bpe(["hello"], 257, &[])?;
/// let mut stream = tokenizer.decode_stream(false);
/// let mut text = String::new();
/// for id in tokenizer.encode("你好")? {
///     text.extend(stream.push(id));
/// }
/// text.push_str(&stream.finish());
/// assert_eq!(text, "你好");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DecodeStream {
    tokenizer: Tokenizer,
    skip_special: bool,
    /// The last tokens: one or more for context, then those not yet shown.
    window: Vec<u32>,
    /// How many bytes of the window's text were returned before.
    n_shown_bytes: usize,
}

impl DecodeStream {
    pub(crate) fn new(tokenizer: Tokenizer, skip_special: bool) -> Self {
        Self {
            tokenizer,
            skip_special,
            window: Vec::new(),
            n_shown_bytes: 0,
        }
    }

    /// Takes the next token; returns the text that became certain with it, if any.
    pub fn push(&mut self, id: u32) -> Option<String> {
        let is_hidden = self.skip_special && self.tokenizer.is_special(id);
        if is_hidden || self.tokenizer.id_to_token(id).is_none() {
            return None;
        }
        self.window.push(id);
        if self.tokenizer.is_fallback_byte(id) {
            return None; // The run of bytes may go on, and decodes as one.
        }
        let text = self.tokenizer.decode(&self.window, self.skip_special);
        // Bytes that may still become a character show as one replacement character at the end.
        let certain = text
            .strip_suffix(char::REPLACEMENT_CHARACTER)
            .unwrap_or(&text);
        let piece = certain.get(self.n_shown_bytes..).unwrap_or("").to_string();
        self.n_shown_bytes = self.n_shown_bytes.max(certain.len());

        if certain.len() == text.len() && !text.is_empty() {
            self.keep_context();
        } else if self.window.len() > MAX_WINDOW {
            self.cut();
        }
        (!piece.is_empty()).then_some(piece)
    }

    /// Ends the stream: the text still held back (an unfinished character shows as U+FFFD).
    #[must_use]
    pub fn finish(self) -> String {
        let text = self.tokenizer.decode(&self.window, self.skip_special);
        text.get(self.n_shown_bytes..).unwrap_or("").to_string()
    }

    /// Everything is shown: keeps the fewest last tokens that have a text, so that a decoder
    /// that treats the first token differently does so with these and not with the next.
    fn keep_context(&mut self) {
        for n_kept in 1..self.window.len() {
            let context = &self.window[self.window.len() - n_kept..];
            let text = self.tokenizer.decode(context, self.skip_special);
            if !text.is_empty() && !text.ends_with(char::REPLACEMENT_CHARACTER) {
                self.n_shown_bytes = text.len();
                self.window.drain(..self.window.len() - n_kept);
                return;
            }
        }
    }

    /// Cuts a window that goes on without ending in a whole character.
    fn cut(&mut self) {
        let rest = &self.window[self.window.len() - N_KEPT_AT_CUT..];
        let text = self.tokenizer.decode(rest, self.skip_special);
        if let Some(certain) = text.strip_suffix(char::REPLACEMENT_CHARACTER) {
            self.n_shown_bytes = certain.len();
            self.window.drain(..self.window.len() - N_KEPT_AT_CUT);
        }
    }
}

#[cfg(test)]
mod tests;
