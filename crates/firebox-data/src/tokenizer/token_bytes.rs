//! The bytes behind a single token.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::Tokenizer;
use crate::fast_encoder::char_bytes;

/// What SentencePiece writes for a space.
const SPACE: char = '\u{2581}';

impl Tokenizer {
    /// The bytes that an id stands for: of an added token its text, of an id outside the vocabulary
    /// none. They may be a part of a character.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let Some(token) = self.id_to_token(id) else {
            return Vec::new();
        };
        let added = self.shared.tokenizer.get_added_vocabulary();
        if added.get_added_tokens_decoder().contains_key(&id) {
            return token.into_bytes();
        }
        if self.shared.has_byte_fallback
            && let Some(byte) = fallback_byte(&token)
        {
            return vec![byte];
        }
        if self.shared.is_byte_level {
            return token.chars().flat_map(bytes_of_char).collect();
        }
        token.replace(SPACE, " ").into_bytes()
    }
}

/// The byte that `<0xE4>` stands for.
pub(super) fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_byte = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| is_byte)
}

/// The byte that byte-level tokenizers write as this character; a character that stands for none is
/// itself.
fn bytes_of_char(c: char) -> Vec<u8> {
    static BYTES: LazyLock<FxHashMap<char, u8>> = LazyLock::new(char_bytes);
    match BYTES.get(&c) {
        Some(byte) => vec![*byte],
        None => c.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use crate::train_byte_level_bpe;

    #[test]
    fn tokens_of_a_text_join_to_its_bytes() {
        let tokenizer = train_byte_level_bpe(["the cat, the dog"], 270, &["<|end|>"]).unwrap();
        let text = "the cat é 水 \u{7f}\n<|end|>";
        let ids = tokenizer.encode(text).unwrap();
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| tokenizer.token_bytes(*id))
            .collect();
        assert_eq!(bytes, text.as_bytes());
        assert!(tokenizer.token_bytes(9999).is_empty());
    }

    #[test]
    fn a_fallback_token_is_one_byte() {
        assert_eq!(super::fallback_byte("<0xE4>"), Some(0xe4));
        for other in ["<0xE>", "<0xE4F>", "<0xG0>", "E4", "<0x+4>"] {
            assert_eq!(super::fallback_byte(other), None, "{other}");
        }
    }
}
