//! Training a byte-level BPE tokenizer, with nothing to choose but its size.

use crate::{DataError, Tokenizer, TokenizerModel, TokenizerTraining, TokenizerTrainingError};
use crate::{WordSplit, error::Source};

/// Trains byte-level BPE: the most frequent pair of neighbours becomes a new token, again and
/// again, until the vocabulary is full or no pair is left.
///
/// Ids are `special_tokens` in their order, then the 256 bytes, then merges by rank. Texts are
/// split as GPT-2 splits them (words with the space before them, numbers, punctuation), and digits
/// stand alone, as in SmolLM2. Chinese is not split at words: its frequent words and phrases
/// become tokens by their frequency. The same texts in the same order give the same tokenizer.
/// [`TokenizerTraining`] has more to choose.
///
/// # Errors
/// [`DataError::VocabTooSmall`] if `vocab_size` cannot hold the bytes and the special tokens.
///
/// Source: Sennrich, Haddow and Birch (2016), algorithm 1, <https://arxiv.org/abs/1508.07909>, on
/// bytes as in Radford et al. (2019), section 2.2.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), firebox_data::DataError> {
/// let texts = ["the cat and the dog", "猫和狗"];
/// let tokenizer = firebox_data::train_byte_level_bpe(texts, 262, &["<|endoftext|>"])?;
/// assert_eq!(tokenizer.token_to_id("<|endoftext|>"), Some(0));
/// assert_eq!(tokenizer.decode(&tokenizer.encode("the 狗!")?, false), "the 狗!");
/// # Ok(())
/// # }
/// ```
pub fn train_byte_level_bpe<I>(
    texts: I,
    vocab_size: usize,
    special_tokens: &[&str],
) -> Result<Tokenizer, DataError>
where
    I: IntoIterator,
    I::Item: AsRef<str> + Send,
    I::IntoIter: Send,
{
    let model = TokenizerModel::ByteLevelBpe {
        words: WordSplit::SmolLm2,
    };
    let training = TokenizerTraining {
        special_tokens: special_tokens.iter().map(|&token| token.into()).collect(),
        ..TokenizerTraining::new(model, vocab_size)
    };
    training.train(texts).map_err(|error| match error {
        TokenizerTrainingError::VocabTooSmall {
            vocab_size,
            minimum,
            ..
        } => DataError::VocabTooSmall {
            vocab_size,
            minimum,
        },
        TokenizerTrainingError::Train { source } => DataError::TrainTokenizer { source },
        other => DataError::TrainTokenizer {
            source: Source::from(other),
        },
    })
}

#[cfg(test)]
mod tests;
