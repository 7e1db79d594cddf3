//! Training a byte-level BPE tokenizer.

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    TokenizerImpl,
};

use crate::{DataError, Tokenizer, error::Source};

type ByteLevelBpe = TokenizerImpl<
    BPE,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Tokens start from the 256 bytes, so that every text of every language can be encoded.
const N_BYTES: usize = 256;

/// Trains byte-level BPE: the most frequent pair of neighbours becomes a new token, again and
/// again, until the vocabulary is full or no pair is left.
///
/// Ids are `special_tokens` in their order, then the 256 bytes, then merges by rank. Texts are
/// split as GPT-2 splits them (words with the space before them, numbers, punctuation), and digits
/// stand alone, as in SmolLM2. Chinese is not split at words: its frequent words and phrases
/// become tokens by their frequency. The same texts in the same order give the same tokenizer.
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
    let minimum = N_BYTES + special_tokens.len();
    if vocab_size < minimum {
        return Err(DataError::VocabTooSmall {
            vocab_size,
            minimum,
        });
    }
    let special_tokens = special_tokens
        .iter()
        .map(|&token| AddedToken::from(token, true));
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .special_tokens(special_tokens.collect())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build();

    let train_error = |source: Source| DataError::TrainTokenizer { source };
    let byte_level = ByteLevel::new(false, false, true);
    let mut tokenizer = ByteLevelBpe::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(vec![
            Digits::new(true).into(),
            byte_level.into(),
        ])))
        .with_decoder(Some(byte_level));
    tokenizer
        .train(&mut trainer, texts.into_iter())
        .map_err(train_error)?;
    let json = tokenizer.to_string(false).map_err(train_error)?;
    Tokenizer::from_json(json.as_bytes())
}

#[cfg(test)]
mod tests;
