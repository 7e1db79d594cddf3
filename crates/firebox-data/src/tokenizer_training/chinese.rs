//! What is done with Chinese, which has no spaces, before words are counted.

use serde::{Deserialize, Serialize};

/// How runs of Chinese characters are split before a model learns from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChineseSplit {
    /// Not at all: a run is one word, of raw bytes to a byte-level model, and tokens are whatever is
    /// frequent, within words or across them.
    #[default]
    #[serde(alias = "bytes")]
    Unsplit,
    /// Every Han character is a word: no token holds two.
    Characters,
    /// At the words of jieba's dictionary (feature `jieba`), so that no token is learned across two
    /// words. Only in training, see
    /// [`TokenizerTraining::splits_alike_in_use`](crate::TokenizerTraining::splits_alike_in_use).
    Jieba,
}

/// Cuts texts at dictionary words, if it was asked to.
pub(super) struct WordCutter {
    #[cfg(feature = "jieba")]
    jieba: Option<jieba_rs::Jieba>,
}

impl WordCutter {
    #[cfg(feature = "jieba")]
    pub(super) fn new(chinese: ChineseSplit) -> Self {
        Self {
            jieba: (chinese == ChineseSplit::Jieba).then(jieba_rs::Jieba::new),
        }
    }

    #[cfg(not(feature = "jieba"))]
    pub(super) fn new(_: ChineseSplit) -> Self {
        Self {}
    }

    /// The text, cut where one dictionary word of Han characters meets the next.
    #[cfg(feature = "jieba")]
    pub(super) fn parts<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let Some(jieba) = &self.jieba else {
            return vec![text];
        };
        let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
        for token in jieba.cut(text, true) {
            let before = text[..at].chars().next_back();
            let behind = token.word.chars().next();
            if before.is_some_and(is_han) && behind.is_some_and(is_han) {
                parts.push(&text[start..at]);
                start = at;
            }
            at += token.word.len();
        }
        parts.push(&text[start..]);
        parts
    }

    #[cfg(not(feature = "jieba"))]
    pub(super) fn parts<'a>(&self, text: &'a str) -> Vec<&'a str> {
        vec![text]
    }
}

/// Whether a character is a Han ideograph: the unified blocks of Unicode 16 and the compatibility ones.
pub(crate) fn is_han(character: char) -> bool {
    matches!(character,
        '\u{3005}' | '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}
