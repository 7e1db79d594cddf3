//! The special tokens around a text.

use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper, Token};

use crate::DataError;

/// An id that stands for the text while the post-processor is asked what it puts around one.
const TEXT: u32 = u32::MAX;

/// What is put around the ids of a text.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    prefix: Vec<u32>,
    /// What follows the text at once, and the text again; empty but for odd templates.
    middle: Vec<u32>,
    suffix: Vec<u32>,
}

impl Marks {
    /// Ids before each text.
    pub(super) fn before(prefix: Vec<u32>) -> Self {
        Self {
            prefix,
            ..Self::default()
        }
    }

    /// What a post-processor puts around a text.
    pub(super) fn of_post_processor(post_processor: Option<&PostProcessorWrapper>) -> Self {
        let Some(post_processor) = post_processor else {
            return Self::default();
        };
        let text = Encoding::from_tokens(vec![Token::new(TEXT, "a".to_owned(), (0, 1))], 0);
        let Ok(encoding) = post_processor.process(text, None, true) else {
            return Self::default(); // Templates of one text with a second that is not there.
        };
        let ids = encoding.get_ids();
        let first = ids.iter().position(|&id| id == TEXT);
        let last = ids.iter().rposition(|&id| id == TEXT);
        let (Some(first), Some(last)) = (first, last) else {
            return Self::before(ids.to_vec());
        };
        Self {
            prefix: ids[..first].to_vec(),
            suffix: ids[last + 1..].to_vec(),
            middle: ids[first + 1..=last].to_vec(),
        }
    }

    /// Appends the marks and between them what `push_text` appends.
    pub(super) fn push_around(
        &self,
        ids: &mut Vec<u32>,
        push_text: impl FnOnce(&mut Vec<u32>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        ids.extend_from_slice(&self.prefix);
        let start = ids.len();
        push_text(ids)?;
        let end = ids.len();
        for &id in &self.middle {
            match id {
                TEXT => ids.extend_from_within(start..end),
                id => ids.push(id),
            }
        }
        ids.extend_from_slice(&self.suffix);
        Ok(())
    }
}
