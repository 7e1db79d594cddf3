//! The steps of a tokenizer, from text to ids.

use super::added_tokens::{AddedTokens, Part};
use super::model::{BpeModel, WordBuffers};
use super::normalizer::Normalizer;
use super::words::Words;

/// A tokenizer that is understood.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// Added tokens that are searched for in the text as it is.
    pub(super) raw_tokens: Option<AddedTokens>,
    pub(super) normalizer: Normalizer,
    /// Added tokens that are searched for after that.
    pub(super) normalized_tokens: Option<AddedTokens>,
    pub(super) words: Words,
    pub(super) model: BpeModel,
}

/// Memory of one thread; what it holds makes encoding faster and changes no result.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    words: WordBuffers,
    text: String,
}

impl Pipeline {
    /// Appends the ids of a text, without the marks of the post-processor.
    pub(crate) fn push_ids(&self, text: &str, buffers: &mut Buffers, ids: &mut Vec<u32>) {
        for_each_part(self.raw_tokens.as_ref(), text, |part| match part {
            Part::Token(id) => ids.push(id),
            Part::Text(range) => {
                let opens_document = range.start == 0;
                self.push_raw_text(&text[range], opens_document, buffers, ids);
            }
        });
    }

    fn push_raw_text(
        &self,
        text: &str,
        opens_document: bool,
        buffers: &mut Buffers,
        ids: &mut Vec<u32>,
    ) {
        let text = self.normalizer.normalize(text);
        for_each_part(self.normalized_tokens.as_ref(), &text, |part| match part {
            Part::Token(id) => ids.push(id),
            Part::Text(range) => {
                let opens_document = opens_document && range.start == 0;
                self.push_text(&text[range], opens_document, buffers, ids);
            }
        });
    }

    fn push_text(
        &self,
        text: &str,
        opens_document: bool,
        buffers: &mut Buffers,
        ids: &mut Vec<u32>,
    ) {
        let Buffers {
            words,
            text: written,
        } = buffers;
        self.words
            .for_each(text, opens_document, written, |text, range| {
                self.model.push_word(text, range, words, ids);
            });
    }
}

fn for_each_part(tokens: Option<&AddedTokens>, text: &str, mut visit: impl FnMut(Part)) {
    match tokens {
        Some(tokens) => tokens.for_each_part(text, visit),
        None if text.is_empty() => {}
        None => visit(Part::Text(0..text.len())),
    }
}
