//! Words in a text, and whether tokens keep them whole.

use std::ops::Range;

use crate::tokenizer_training::is_han;

/// Finds words.
#[derive(Default)]
pub(super) struct WordFinder {
    #[cfg(feature = "jieba")]
    jieba: jieba_rs::Jieba,
}

impl WordFinder {
    /// The words between white space, without the punctuation around them; none that holds a Han
    /// character or no letter.
    pub(super) fn words(&self, text: &str) -> Vec<Range<usize>> {
        let parts = text.split_whitespace().map(|part| {
            let word = part.trim_matches(|c: char| !c.is_alphanumeric());
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            (word, start..start + word.len())
        });
        let is_word = |word: &str| word.contains(char::is_alphabetic) && !word.contains(is_han);
        let words = parts.filter(|(word, _)| is_word(word));
        words.map(|(_, range)| range).collect()
    }

    /// The dictionary words of Han characters.
    #[cfg(feature = "jieba")]
    pub(super) fn chinese_words(&self, text: &str) -> Vec<Range<usize>> {
        if !text.contains(is_han) {
            return Vec::new();
        }
        let mut end = 0;
        let words = self.jieba.cut(text, true).into_iter().map(|token| {
            end += token.word.len();
            (token.word, end - token.word.len()..end)
        });
        let words = words.filter(|(word, _)| word.chars().all(is_han));
        words.map(|(_, range)| range).collect()
    }

    /// None: there is no dictionary in this build.
    #[cfg(not(feature = "jieba"))]
    pub(super) fn chinese_words(&self, _: &str) -> Vec<Range<usize>> {
        Vec::new()
    }
}

/// How many words are more than one token; if `alone` is asked for, also those whose token holds more than
/// the word. Words and tokens are in the order of the text.
pub(super) fn n_split(words: &[Range<usize>], tokens: &[Range<usize>], alone: bool) -> u64 {
    let mut first = 0;
    let mut n_split = 0;
    for word in words {
        while tokens
            .get(first)
            .is_some_and(|token| token.end <= word.start)
        {
            first += 1;
        }
        let touching = tokens[first..].iter();
        let mut touching = touching.take_while(|token| token.start < word.end);
        let reaches_over = |token: &Range<usize>| token.start < word.start || token.end > word.end;
        let is_whole = match (touching.next(), touching.next()) {
            (Some(token), None) => !(alone && reaches_over(token)),
            _ => false,
        };
        n_split += u64::from(!is_whole);
    }
    n_split
}
