//! Token ids as they lie in a file.

use crate::{Example, IGNORE_LABEL};

/// Token ids of 2 or 4 bytes, borrowed from the file that they are in.
#[derive(Debug, Clone, Copy)]
pub struct TokenSlice<'a> {
    pub(super) tokens: &'a [u8],
    pub(super) token_bytes: usize,
    /// The whole file's mask.
    pub(super) mask: Option<&'a [u8]>,
    /// The first token's bit in it.
    pub(super) first_bit: usize,
}

impl TokenSlice<'_> {
    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() / self.token_bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The ids.
    #[must_use]
    pub fn to_ids(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        self.append_ids(&mut ids);
        ids
    }

    /// The ids with their labels.
    #[must_use]
    pub fn to_example(&self) -> Example {
        let mut example = Example::default();
        self.append_to(&mut example);
        example
    }

    /// Whether there is loss on a token.
    #[must_use]
    pub fn has_loss(&self, token: usize) -> bool {
        let bit = self.first_bit + token;
        let byte = self
            .mask
            .map(|mask| mask.get(bit / 8).copied().unwrap_or(0));
        byte.is_none_or(|byte| (byte >> (bit % 8)) & 1 == 1)
    }

    /// Appends the ids and their labels.
    pub(super) fn append_to(&self, example: &mut Example) {
        let n_before = example.input_ids.len();
        self.append_ids(&mut example.input_ids);
        let ids = example.input_ids[n_before..].iter().enumerate();
        let labels = ids.map(|(token, &id)| match self.has_loss(token) {
            true => i64::from(id),
            false => IGNORE_LABEL,
        });
        example.labels.extend(labels);
    }

    fn append_ids(&self, ids: &mut Vec<u32>) {
        if self.token_bytes == 2 {
            let (tokens, _) = self.tokens.as_chunks::<2>();
            ids.extend(
                tokens
                    .iter()
                    .map(|&bytes| u32::from(u16::from_le_bytes(bytes))),
            );
        } else {
            let (tokens, _) = self.tokens.as_chunks::<4>();
            ids.extend(tokens.iter().map(|&bytes| u32::from_le_bytes(bytes)));
        }
    }
}
