//! Models that are learned by merging pairs: BPE on bytes or characters, and WordPiece.

use std::collections::{BTreeSet, HashSet};

use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::word_counts::{WordCounts, known_parts, n_chars};
use super::{
    TokenizerModel, TokenizerTraining, TokenizerTrainingError, UNKNOWN_WORD_PIECE, train_error,
};
use crate::Tokenizer;

/// What BERT puts before a piece that continues a word.
const CONTINUATION: &str = "##";

impl TokenizerTraining {
    pub(super) fn train_bpe<I>(&self, texts: I) -> Result<Tokenizer, TokenizerTrainingError>
    where
        I: Iterator + Send,
        I::Item: AsRef<str> + Send,
    {
        let tokenizer = self.untrained(BPE::default())?;
        let mut counts = self.count_words(&tokenizer, texts)?;
        let mut trainer = self.bpe_trainer();
        if matches!(self.model, TokenizerModel::ByteLevelBpe { .. }) {
            trainer.initial_alphabet = ByteLevel::alphabet();
        } else {
            if let Some(alphabet) = self.alphabet(&counts) {
                counts = known_parts(counts, &alphabet);
            }
            self.check_alphabet(n_chars(&counts))?;
        }
        let mut model = BPE::default();
        train(&trainer, counts, &mut model)?;
        model.unk_token = self.model.unknown_token().map(str::to_owned);
        self.finished(tokenizer, model)
    }

    /// WordPiece as the crate's own trainer does it, from BPE with marked continuations, but that all its
    /// ids come in a fixed order.
    pub(super) fn train_word_piece<I>(&self, texts: I) -> Result<Tokenizer, TokenizerTrainingError>
    where
        I: Iterator + Send,
        I::Item: AsRef<str> + Send,
    {
        let tokenizer = self.untrained(WordPiece::default())?;
        let mut counts = self.count_words(&tokenizer, texts)?;
        let mut trainer = self.bpe_trainer();
        trainer.continuing_subword_prefix = Some(CONTINUATION.to_owned());
        if let Some(alphabet) = self.alphabet(&counts) {
            // In use, a word with one unknown character is unknown as a whole.
            counts.retain(|word, _| word.chars().all(|c| alphabet.contains(&c)));
            trainer.initial_alphabet = alphabet.into_iter().collect();
        }
        // The trainer gives ids to continuing characters in the order of a hash map; those that it has
        // already keep theirs.
        let alphabet = first_and_continuing(&counts, &trainer.initial_alphabet);
        self.check_alphabet(alphabet.len())?;
        let fixed = alphabet
            .into_iter()
            .map(|token| AddedToken::from(token, true));
        trainer.special_tokens.extend(fixed);
        let mut model = BPE::default();
        train(&trainer, counts, &mut model)?;
        let mut word_piece = WordPiece::from_bpe(&model);
        word_piece.unk_token = UNKNOWN_WORD_PIECE.to_owned();
        self.finished(tokenizer, word_piece)
    }

    fn bpe_trainer(&self) -> BpeTrainer {
        BpeTrainer::builder()
            .vocab_size(self.vocab_size)
            .min_frequency(self.min_frequency)
            .special_tokens(self.added_tokens())
            .show_progress(false)
            .build()
    }
}

/// Trains on counted words. The types of the trainer's map are those of crates that are not ours.
fn train(
    trainer: &BpeTrainer,
    counts: WordCounts,
    model: &mut BPE,
) -> Result<(), TokenizerTrainingError> {
    let counts = counts.into_iter().map(|(word, n)| (word.into(), n));
    trainer
        .do_train(&counts.collect(), model)
        .map_err(train_error)?;
    Ok(())
}

/// Every character as it stands, then every one that continues a word, marked.
fn first_and_continuing<'a>(
    counts: &WordCounts,
    alphabet: impl IntoIterator<Item = &'a char>,
) -> Vec<String> {
    let words = || counts.keys();
    let mut chars: BTreeSet<char> = words().flat_map(|word| word.chars()).collect();
    chars.extend(alphabet);
    let continuing: HashSet<char> = words().flat_map(|word| word.chars().skip(1)).collect();
    let marked = chars.iter().filter(|c| continuing.contains(*c));
    let marked = marked.map(|c| format!("{CONTINUATION}{c}"));
    chars.iter().map(char::to_string).chain(marked).collect()
}
