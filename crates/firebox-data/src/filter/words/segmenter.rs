//! How runs of a script without spaces are cut into words.

use std::ops::Range;

use serde::{Deserialize, Serialize};

#[cfg(feature = "jieba")]
use std::sync::LazyLock;

use super::super::characters::{is_han, is_unspaced};
use super::super::error::FilterError;
use super::chunk;

/// How words are counted in scripts that put no spaces between them.
///
/// The script decides for each run of a text: words of English, Russian or Korean end at spaces whatever
/// is chosen here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordCounting {
    /// Each character of such a script is a word. The default.
    #[default]
    Characters,
    /// Runs of Chinese characters are cut by jieba, the other scripts by characters. Needs the feature
    /// `jieba`.
    Jieba,
    /// Only spaces count: a Chinese clause is one word. For comparing with tools that count so.
    Spaces,
}

#[cfg(feature = "jieba")]
static JIEBA: LazyLock<jieba_rs::Jieba> = LazyLock::new(jieba_rs::Jieba::new);

/// Cuts by one [`WordCounting`].
#[derive(Debug, Clone, Copy)]
pub(in crate::filter) struct Segmenter {
    counting: WordCounting,
}

impl Segmenter {
    /// # Errors
    ///
    /// If jieba is asked for and this build has none.
    pub(in crate::filter) fn new(counting: WordCounting) -> Result<Self, FilterError> {
        #[cfg(not(feature = "jieba"))]
        if counting == WordCounting::Jieba {
            return Err(FilterError::NoJieba);
        }
        Ok(Self { counting })
    }

    /// The default, which every build has.
    pub(in crate::filter) const fn characters() -> Self {
        Self {
            counting: WordCounting::Characters,
        }
    }

    pub(in crate::filter) fn counting(self) -> WordCounting {
        self.counting
    }

    /// Cuts what lies between two spaces; the ranges are moved by `offset`.
    pub(super) fn split(self, chunk: &str, offset: usize, push: &mut dyn FnMut(Range<usize>)) {
        if self.counting == WordCounting::Spaces {
            return chunk::split(chunk, offset, push);
        }
        let mut start = 0;
        while start < chunk.len() {
            let rest = &chunk[start..];
            let script = Script::of_first(rest);
            let n_bytes = rest
                .char_indices()
                .find(|&(_, character)| Script::of(character) != script)
                .map_or(rest.len(), |(at, _)| at);
            let run = &rest[..n_bytes];
            match script {
                Script::Spaced => chunk::split(run, offset + start, push),
                Script::Han => self.split_han(run, offset + start, push),
                Script::Unspaced => split_characters(run, offset + start, push),
            }
            start += n_bytes;
        }
    }

    #[cfg(feature = "jieba")]
    fn split_han(self, run: &str, offset: usize, push: &mut dyn FnMut(Range<usize>)) {
        if self.counting == WordCounting::Characters {
            return split_characters(run, offset, push);
        }
        let mut start = offset;
        for token in JIEBA.cut(run, true) {
            let end = start + token.word.len();
            push(start..end);
            start = end;
        }
    }

    #[cfg(not(feature = "jieba"))]
    fn split_han(self, run: &str, offset: usize, push: &mut dyn FnMut(Range<usize>)) {
        split_characters(run, offset, push);
    }
}

fn split_characters(run: &str, offset: usize, push: &mut dyn FnMut(Range<usize>)) {
    for (at, character) in run.char_indices() {
        push(offset + at..offset + at + character.len_utf8());
    }
}

/// What decides how a run is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Spaced,
    Han,
    Unspaced,
}

impl Script {
    fn of(character: char) -> Self {
        if is_han(character) {
            Self::Han
        } else if is_unspaced(character) {
            Self::Unspaced
        } else {
            Self::Spaced
        }
    }

    fn of_first(text: &str) -> Self {
        text.chars().next().map_or(Self::Spaced, Self::of)
    }
}
