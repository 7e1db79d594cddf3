//! What the rules want to know of a text, found out once and only if a rule asks.

use std::cell::OnceCell;

use super::characters::CharacterCounts;
use super::words::{Segmenter, Word, WordCounting, split_words};

/// A text with what is known of it.
#[derive(Debug)]
pub(super) struct Statistics<'t> {
    pub(super) text: &'t str,
    pub(super) segmenter: Segmenter,
    characters: OnceCell<CharacterCounts>,
    words: OnceCell<Vec<Word>>,
}

impl<'t> Statistics<'t> {
    pub(super) fn new(text: &'t str, segmenter: Segmenter) -> Self {
        Self {
            text,
            segmenter,
            characters: OnceCell::new(),
            words: OnceCell::new(),
        }
    }

    pub(super) fn characters(&self) -> &CharacterCounts {
        self.characters
            .get_or_init(|| CharacterCounts::of(self.text))
    }

    /// The words, punctuation among them: what the Gopher and FineWeb rules count.
    pub(super) fn words(&self) -> &[Word] {
        self.words
            .get_or_init(|| split_words(self.text, &self.segmenter))
    }

    /// How many words there are in the sense of a word processor: what lies between spaces, and in scripts
    /// without spaces what the segmenter gives.
    pub(super) fn n_words(&self) -> usize {
        match self.segmenter.counting() {
            WordCounting::Spaces => self.characters().n_spaced_words,
            WordCounting::Jieba if self.characters().n_unspaced > 0 => {
                self.words().iter().filter(|word| !word.is_symbol).count()
            }
            WordCounting::Characters | WordCounting::Jieba => self.characters().n_words,
        }
    }
}
