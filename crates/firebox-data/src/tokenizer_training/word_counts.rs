//! How often each word occurs: all that a trainer needs of texts.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use tokenizers::Model;

use super::chinese::WordCutter;
use super::word_split::words;
use super::{TokenizerTraining, TokenizerTrainingError, Untrained, train_error};
use crate::error::Source;

/// Words with their counts.
pub(super) type WordCounts = HashMap<String, u64>;

impl TokenizerTraining {
    /// Counts the words of texts: each text cut by the dictionary, if one is asked for, and then split as
    /// the tokenizer splits.
    pub(super) fn count_words<M, I>(
        &self,
        tokenizer: &Untrained<M>,
        texts: I,
    ) -> Result<WordCounts, TokenizerTrainingError>
    where
        M: Model + Sync,
        I: Iterator + Send,
        I::Item: AsRef<str> + Send,
    {
        let cutter = WordCutter::new(self.chinese);
        let counts = texts
            .par_bridge()
            .try_fold(WordCounts::new, |mut counts, text| {
                for word in words(tokenizer, &cutter, text.as_ref())? {
                    *counts.entry(word).or_default() += 1;
                }
                Ok::<_, Source>(counts)
            })
            .try_reduce(WordCounts::new, |a, b| Ok(joined(a, b)));
        counts.map_err(train_error)
    }

    /// The characters that the model is to know, if they are limited: the most frequent ones, of equal
    /// ones the first in Unicode.
    pub(super) fn alphabet(&self, counts: &WordCounts) -> Option<HashSet<char>> {
        let limit = self.max_alphabet?;
        let mut chars: HashMap<char, u64> = HashMap::new();
        for (word, count) in counts {
            for character in word.chars() {
                *chars.entry(character).or_default() += count;
            }
        }
        let mut chars: Vec<_> = chars.into_iter().collect();
        chars.sort_unstable_by_key(|&(character, count)| (Reverse(count), character));
        Some(chars.into_iter().map(|(c, _)| c).take(limit).collect())
    }
}

/// How many characters the words consist of.
pub(super) fn n_chars(counts: &WordCounts) -> usize {
    let chars = counts.keys().flat_map(|word| word.chars());
    chars.collect::<HashSet<_>>().len()
}

/// The sums of two counts.
fn joined(a: WordCounts, b: WordCounts) -> WordCounts {
    let (mut larger, smaller) = if a.len() < b.len() { (b, a) } else { (a, b) };
    for (word, count) in smaller {
        *larger.entry(word).or_default() += count;
    }
    larger
}

/// The words without characters outside the alphabet, which end a part as the end of a word does.
pub(super) fn known_parts(counts: WordCounts, alphabet: &HashSet<char>) -> WordCounts {
    let mut parts = WordCounts::new();
    for (word, count) in counts {
        for part in word.split(|c| !alphabet.contains(&c)) {
            if !part.is_empty() {
                *parts.entry(part.to_owned()).or_default() += count;
            }
        }
    }
    parts
}
