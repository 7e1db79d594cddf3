//! Why a tokenizer is left to the `tokenizers` crate.

/// What the fast path does not know about a tokenizer. Its texts are encoded by the `tokenizers` crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FallbackReason {
    /// The model is not byte-pair encoding.
    #[error("the model is {found}, expected BPE")]
    Model {
        /// `WordPiece`, `WordLevel` or `Unigram`.
        found: &'static str,
    },
    /// The model has an option that changes what is merged.
    #[error("the model has `{option}`, expected none")]
    ModelOption {
        /// Its name in `tokenizer.json`.
        option: &'static str,
    },
    /// The model's merges or its vocabulary are unusual.
    #[error("the model has {found}")]
    Vocabulary {
        /// What it has.
        found: &'static str,
    },
    /// A normalizer other than NFC, or Prepend and Replace.
    #[error("the normalizer has {found}, expected NFC, Prepend or Replace of a text")]
    Normalizer {
        /// The type that is not known.
        found: String,
    },
    /// A pre-tokenizer other than those of byte-level models and Metaspace.
    #[error(
        "the pre-tokenizer is {found}, expected ByteLevel, Digits and ByteLevel, a known Split and \
         ByteLevel, each also behind a Split of Han characters, Metaspace, or none"
    )]
    PreTokenizer {
        /// What it is.
        found: String,
    },
    /// Added tokens that cannot be searched for.
    #[error("the added tokens are too many to search for")]
    AddedTokens,
    /// The regex engine of the `tokenizers` crate does not say what a letter is.
    #[error("the regex engine does not take \\p{{L}}, \\p{{N}} and \\s")]
    CharClasses,
}
