//! What can go wrong in training a tokenizer.

use crate::error::Source;

/// Everything that training a tokenizer can report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerTrainingError {
    /// A vocabulary too small to hold what it must.
    #[error(
        "train a {model} tokenizer: expected a vocabulary of at least {minimum} ({holds}), found \
         {vocab_size} (hint: raise `vocab_size`)"
    )]
    VocabTooSmall {
        /// The model's name.
        model: &'static str,
        /// What was asked for.
        vocab_size: usize,
        /// The least that works.
        minimum: usize,
        /// What it must hold.
        holds: &'static str,
    },
    /// A special token that cannot be told from the others.
    #[error(
        "train a tokenizer: expected special tokens of different texts, found {found} `{token}` \
         (hint: remove it from `special_tokens`)"
    )]
    BadSpecialToken {
        /// The token.
        token: String,
        /// What is wrong with it.
        found: &'static str,
    },
    /// The dictionary is not part of this build.
    #[error(
        "train a tokenizer: expected a build with the feature `jieba` for `chinese = \"jieba\"`, \
         found one without (hint: build with `--features jieba`, or choose `characters`)"
    )]
    JiebaNotBuilt,
    /// WordPiece, whose pieces know where in a word they stand, cannot do without the dictionary in use.
    #[error(
        "train a WordPiece tokenizer: expected `chinese` to be `characters` or `unsplit`, found \
         `jieba` (hint: a `##` piece is learned for its place in a word, and in use no dictionary \
         cuts the words)"
    )]
    JiebaWithWordPiece,
    /// The `tokenizers` crate reports something else.
    #[error("train a tokenizer (hint: are there at least a few texts?)")]
    Train {
        /// What it says.
        #[source]
        source: Source,
    },
}
