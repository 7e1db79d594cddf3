//! The unigram language model.

use std::collections::{BTreeMap, HashSet};

use tokenizers::models::unigram::{Unigram, UnigramTrainer};

use super::word_counts::{WordCounts, known_parts};
use super::{TokenizerTraining, TokenizerTrainingError, UNKNOWN, train_error};
use crate::Tokenizer;

/// Characters of the longest part that is learned from at once: in longer ones, likelihoods run out of
/// numbers. A sentence in SentencePiece has at most 4,192 bytes.
const MAX_PART_CHARS: usize = 1024;
/// How far apart the trainer sets the scores of characters that it has to keep.
const PENALTY_STEP: f64 = 0.0001;

impl TokenizerTraining {
    pub(super) fn train_unigram<I>(&self, texts: I) -> Result<Tokenizer, TokenizerTrainingError>
    where
        I: Iterator + Send,
        I::Item: AsRef<str> + Send,
    {
        let tokenizer = self.untrained(Unigram::default())?;
        let words = self.sorted_words(self.count_words(&tokenizer, texts)?);
        let n_chars = words.iter().flat_map(|(word, _)| word.chars());
        self.check_alphabet(n_chars.collect::<HashSet<_>>().len())?;

        let trainer = UnigramTrainer::builder()
            .vocab_size(u32::try_from(self.vocab_size).unwrap_or(u32::MAX))
            .special_tokens(self.added_tokens())
            .unk_token(Some(UNKNOWN.to_owned()))
            .show_progress(false)
            .build()
            .map_err(|source| train_error(source.into()))?;
        let mut model = Unigram::default();
        if !words.is_empty() {
            single_thread()?
                .install(|| trainer.do_train(words, &mut model))
                .map_err(train_error)?;
        }
        let model = self.in_fixed_order(&model)?;
        self.finished(tokenizer, model)
    }

    /// The words with their counts, in an order of their own: the trainer adds up in the order that it
    /// is given.
    fn sorted_words(&self, mut counts: WordCounts) -> Vec<(String, u32)> {
        counts.retain(|_, count| *count >= self.min_frequency);
        if let Some(alphabet) = self.alphabet(&counts) {
            counts = known_parts(counts, &alphabet);
        }
        let mut words: BTreeMap<String, u64> = BTreeMap::new();
        for (word, count) in counts {
            for part in short_parts(&word) {
                *words.entry(part).or_default() += count;
            }
        }
        let narrow = |count| u32::try_from(count).unwrap_or(u32::MAX);
        words
            .into_iter()
            .map(|(word, n)| (word, narrow(n)))
            .collect()
    }

    /// The model with nothing left to chance: the trainer walks through a hash set of the characters that
    /// it has to keep, and so their scores, which it makes up, change hands from run to run.
    fn in_fixed_order(&self, model: &Unigram) -> Result<Unigram, TokenizerTrainingError> {
        let special_tokens = self.all_special_tokens();
        let mut pieces: Vec<(String, f64)> = model
            .iter()
            .filter(|(piece, _)| !special_tokens.contains(piece) && piece != UNKNOWN_IN_TRAINING)
            .cloned()
            .collect();
        deal_out_penalties(&mut pieces);
        pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let unknown = special_tokens.iter().position(|token| token == UNKNOWN);
        let special = special_tokens.into_iter().map(|token| (token, 0.0));
        Unigram::from(special.chain(pieces).collect(), unknown, false).map_err(train_error)
    }
}

/// What the trainer, and an untrained model, call the unknown piece.
const UNKNOWN_IN_TRAINING: &str = "<UNK>";

/// Gives the scores of characters that were kept only because they must be, `least + k * step`, to these
/// characters in their order.
fn deal_out_penalties(pieces: &mut [(String, f64)]) {
    let least = pieces.iter().map(|(_, score)| *score);
    let least = least.fold(f64::INFINITY, f64::min);
    let mut kept = Vec::new();
    let mut penalty = 0.0;
    loop {
        let is_next = |(piece, score): &(String, f64)| {
            *score == least + penalty && piece.chars().nth(1).is_none()
        };
        let n_before = kept.len();
        let found = (0..pieces.len()).filter(|&index| is_next(&pieces[index]));
        kept.extend(found);
        if kept.len() == n_before {
            break;
        }
        penalty += PENALTY_STEP;
    }
    let mut scores: Vec<f64> = kept.iter().map(|&index| pieces[index].1).collect();
    scores.sort_by(f64::total_cmp);
    kept.sort_by(|&a, &b| pieces[a].0.cmp(&pieces[b].0));
    for (index, score) in kept.into_iter().zip(scores) {
        pieces[index].1 = score;
    }
}

/// A word in parts that are not too long, without the character that the trainer puts between words.
fn short_parts(word: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for run in word.split('\0').filter(|run| !run.is_empty()) {
        let chars: Vec<char> = run.chars().collect();
        parts.extend(chars.chunks(MAX_PART_CHARS).map(String::from_iter));
    }
    parts
}

/// The trainer splits its sums by the number of threads; with one they are always the same.
fn single_thread() -> Result<rayon::ThreadPool, TokenizerTrainingError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.map_err(|source| train_error(source.into()))
}
