//! What a tokenizer makes of texts, in numbers.

mod words;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{DataError, Tokenizer};

use words::WordFinder;

/// Texts of one share of the work.
const CHUNK_TEXTS: usize = 64;

/// Counts over texts, and the rates that tokenizers are compared by.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), firebox_data::DataError> {
/// use firebox_data::{tokenizer_statistics, train_byte_level_bpe};
///
/// let texts = ["the cat and the dog", "the dog"];
/// let tokenizer = train_byte_level_bpe(texts, 270, &[])?;
/// let statistics = tokenizer_statistics(&tokenizer, &texts)?;
/// assert_eq!((statistics.n_texts, statistics.n_chars), (2, 26));
/// assert_eq!(statistics.unknown_rate(), 0.0);
/// assert_eq!(statistics.n_exact_texts, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TokenizerStatistics {
    /// Texts.
    pub n_texts: u64,
    /// Characters of the texts.
    pub n_chars: u64,
    /// Bytes of the texts, in UTF-8.
    pub n_bytes: u64,
    /// Tokens of the texts.
    pub n_tokens: u64,
    /// Tokens that the vocabulary has.
    pub vocab_size: u64,
    /// Tokens that occur in the texts.
    pub n_used_tokens: u64,
    /// Occurrences of the unknown token.
    pub n_unknown_tokens: u64,
    /// Words between spaces, without the punctuation around them and without those with Chinese
    /// characters.
    pub n_words: u64,
    /// How many of them are more than one token.
    pub n_split_words: u64,
    /// Words of jieba's dictionary in runs of Chinese characters; none without the feature `jieba`.
    pub n_chinese_words: u64,
    /// How many of them are more than one token, or share a token with the word beside them.
    pub n_split_chinese_words: u64,
    /// Texts that come back exactly when their tokens are decoded.
    pub n_exact_texts: u64,
    /// Seconds that encoding took, if the caller measured it: what [`tokenizer_statistics`] does
    /// includes much more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding_s: Option<f64>,
}

impl TokenizerStatistics {
    /// Characters per token; how much of a text a token holds.
    #[must_use]
    pub fn chars_per_token(&self) -> f64 {
        ratio(self.n_chars, self.n_tokens)
    }

    /// Bytes per token.
    #[must_use]
    pub fn bytes_per_token(&self) -> f64 {
        ratio(self.n_bytes, self.n_tokens)
    }

    /// The share of the vocabulary that occurs, from 0 to 1.
    #[must_use]
    pub fn vocabulary_used(&self) -> f64 {
        ratio(self.n_used_tokens, self.vocab_size)
    }

    /// The share of tokens that are the unknown token, from 0 to 1.
    #[must_use]
    pub fn unknown_rate(&self) -> f64 {
        ratio(self.n_unknown_tokens, self.n_tokens)
    }

    /// The share of words between spaces that are split, from 0 to 1.
    #[must_use]
    pub fn words_split(&self) -> f64 {
        ratio(self.n_split_words, self.n_words)
    }

    /// The share of Chinese words that are split or joined to a neighbour, from 0 to 1.
    #[must_use]
    pub fn chinese_words_split(&self) -> f64 {
        ratio(self.n_split_chinese_words, self.n_chinese_words)
    }

    /// The share of texts that come back exactly, from 0 to 1.
    #[must_use]
    pub fn exact_round_trips(&self) -> f64 {
        ratio(self.n_exact_texts, self.n_texts)
    }

    /// Millions of bytes encoded per second, if the caller measured the time.
    #[must_use]
    pub fn megabytes_per_s(&self) -> Option<f64> {
        let seconds = self.encoding_s.filter(|seconds| *seconds > 0.0)?;
        Some(self.n_bytes as f64 / 1e6 / seconds)
    }

    /// Adds the counts of other texts, but those of the vocabulary.
    fn add(&mut self, other: &Self) {
        self.n_texts += other.n_texts;
        self.n_chars += other.n_chars;
        self.n_bytes += other.n_bytes;
        self.n_tokens += other.n_tokens;
        self.n_unknown_tokens += other.n_unknown_tokens;
        self.n_words += other.n_words;
        self.n_split_words += other.n_split_words;
        self.n_chinese_words += other.n_chinese_words;
        self.n_split_chinese_words += other.n_split_chinese_words;
        self.n_exact_texts += other.n_exact_texts;
    }
}

/// Counts what a tokenizer makes of texts, on all threads; no special tokens are added. The counts do
/// not depend on the number of threads.
///
/// # Errors
/// [`DataError::Encode`] if the model has no token for a part of a text.
pub fn tokenizer_statistics<T>(
    tokenizer: &Tokenizer,
    texts: &[T],
) -> Result<TokenizerStatistics, DataError>
where
    T: AsRef<str> + Sync,
{
    let finder = WordFinder::default();
    let unknown_id = tokenizer.unknown_token_id();
    let shares: Vec<_> = texts
        .par_chunks(CHUNK_TEXTS)
        .map(|texts| {
            let mut share = Share::new(tokenizer.vocab_size());
            for text in texts {
                share.add_text(tokenizer, unknown_id, &finder, text.as_ref())?;
            }
            Ok(share)
        })
        .collect::<Result<_, DataError>>()?;
    let mut all = Share::new(tokenizer.vocab_size());
    for share in &shares {
        all.add(share);
    }
    all.counts.vocab_size = tokenizer.n_tokens() as u64;
    all.counts.n_used_tokens = all.used.iter().filter(|used| **used).count() as u64;
    Ok(all.counts)
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// The counts of some texts, and the tokens that they hold.
struct Share {
    counts: TokenizerStatistics,
    used: Vec<bool>,
}

impl Share {
    fn new(vocab_size: usize) -> Self {
        Self {
            counts: TokenizerStatistics::default(),
            used: vec![false; vocab_size],
        }
    }

    fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (used, other) in self.used.iter_mut().zip(&other.used) {
            *used |= other;
        }
    }

    fn add_text(
        &mut self,
        tokenizer: &Tokenizer,
        unknown_id: Option<u32>,
        finder: &WordFinder,
        text: &str,
    ) -> Result<(), DataError> {
        let encoding = tokenizer.encode_with_ranges(text)?;
        let counts = &mut self.counts;
        counts.n_texts += 1;
        counts.n_chars += text.chars().count() as u64;
        counts.n_bytes += text.len() as u64;
        counts.n_tokens += encoding.ids.len() as u64;
        for &id in &encoding.ids {
            counts.n_unknown_tokens += u64::from(Some(id) == unknown_id);
            if let Some(used) = self.used.get_mut(id as usize) {
                *used = true;
            }
        }
        let words = finder.words(text);
        counts.n_words += words.len() as u64;
        counts.n_split_words += words::n_split(&words, &encoding.ranges, false);
        let chinese_words = finder.chinese_words(text);
        counts.n_chinese_words += chinese_words.len() as u64;
        counts.n_split_chinese_words += words::n_split(&chinese_words, &encoding.ranges, true);
        let is_exact = tokenizer.decode(&encoding.ids, false) == text;
        counts.n_exact_texts += u64::from(is_exact);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
