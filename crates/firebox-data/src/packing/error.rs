//! What can go wrong between examples and rows.

/// Everything that truncation and packing can report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackingError {
    /// A size of zero.
    #[error("pack rows: expected `{name}` of at least 1, found 0 (hint: set it in the config)")]
    ZeroSize {
        /// The setting.
        name: &'static str,
    },
    /// Windows that would not advance.
    #[error(
        "split long examples: expected `overlap_tokens` below the row's {max_len} tokens, found \
         {overlap_tokens} (hint: lower it, or raise the row's length)"
    )]
    OverlapTooLarge {
        /// What was asked for.
        overlap_tokens: usize,
        /// Tokens in a row.
        max_len: usize,
    },
    /// A document longer than a row.
    #[error(
        "pack document {document}: expected at most the row's {capacity} tokens, found {n_tokens} \
         (hint: apply a `Truncation` first)"
    )]
    TooLong {
        /// Its index.
        document: usize,
        /// Its length.
        n_tokens: usize,
        /// Tokens in a row.
        capacity: usize,
    },
    /// Labels that do not belong to the tokens.
    #[error(
        "batch an example: expected as many labels as tokens, found {n_labels} labels for \
         {n_tokens} tokens (hint: fill labels without loss with `IGNORE_LABEL`)"
    )]
    LabelCount {
        /// Tokens of the example.
        n_tokens: usize,
        /// Its labels.
        n_labels: usize,
    },
    /// Nothing is left to make a batch from.
    #[error(
        "pack rows: expected at least one example with loss, found none in {n_examples} examples of \
         {n_tokens} tokens (hint: is the data empty, or does the truncation cut all answers off?)"
    )]
    NoRows {
        /// Examples given.
        n_examples: usize,
        /// Tokens given.
        n_tokens: usize,
    },
}
