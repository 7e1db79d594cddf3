//! What becomes of examples that are longer than a row.

use serde::{Deserialize, Serialize};

use crate::{Example, IGNORE_LABEL, PackingError};

/// The rule for examples longer than a row. Masks are cut where the tokens are.
///
/// # Examples
/// ```
/// use firebox_data::{Example, IGNORE_LABEL, Truncation, TruncationStatistics};
///
/// # fn main() -> Result<(), firebox_data::PackingError> {
/// let mut statistics = TruncationStatistics::default();
/// let rule = Truncation::Windows { overlap_tokens: 1 };
/// let windows = rule.apply(Example::from_ids(vec![1, 2, 3, 4, 5]), 3, &mut statistics)?;
/// assert_eq!(windows[0].input_ids, [1, 2, 3]);
/// assert_eq!(windows[1].input_ids, [3, 4, 5]);
/// assert_eq!(windows[1].labels, [IGNORE_LABEL, 4, 5]); // 3 was learned in the first window
/// assert_eq!(statistics.n_lost_loss_tokens, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Truncation {
    /// The end is cut off.
    #[default]
    KeepStart,
    /// The start is cut off: a prompt loses its oldest words, an answer none.
    KeepEnd,
    /// The example is left out.
    Drop,
    /// The example is split, and no token is lost.
    Windows {
        /// Tokens that a window repeats from the one before it, to have a context. No loss is taken
        /// on them again. With 0, the first token of a window has nothing to be predicted from.
        overlap_tokens: usize,
    },
}

/// Counts over [`Truncation::apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TruncationStatistics {
    /// Examples given.
    pub n_examples: usize,
    /// Tokens given.
    pub n_tokens: usize,
    /// Examples longer than a row, whatever became of them.
    pub n_too_long: usize,
    /// Of these, left out.
    pub n_dropped: usize,
    /// Of these, split into windows.
    pub n_split: usize,
    /// Windows made of them.
    pub n_windows: usize,
    /// Tokens that are in no row, those of dropped examples included.
    pub n_lost_tokens: usize,
    /// Tokens that had loss and have none any more.
    pub n_lost_loss_tokens: usize,
    /// Tokens that windows repeat.
    pub n_repeated_tokens: usize,
}

impl Truncation {
    /// Whether the rule works with rows of `max_len` tokens.
    ///
    /// # Errors
    /// [`PackingError::ZeroSize`] and [`PackingError::OverlapTooLarge`].
    pub fn check(self, max_len: usize) -> Result<(), PackingError> {
        if max_len == 0 {
            return Err(PackingError::ZeroSize { name: "max_len" });
        }
        match self {
            Self::Windows { overlap_tokens } if overlap_tokens >= max_len => {
                Err(PackingError::OverlapTooLarge {
                    overlap_tokens,
                    max_len,
                })
            }
            _ => Ok(()),
        }
    }

    /// The example as rows can hold it: itself, a part of it, nothing, or several windows.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`PackingError::LabelCount`].
    pub fn apply(
        self,
        mut example: Example,
        max_len: usize,
        statistics: &mut TruncationStatistics,
    ) -> Result<Vec<Example>, PackingError> {
        self.check(max_len)?;
        let n_tokens = example.input_ids.len();
        if n_tokens != example.labels.len() {
            return Err(PackingError::LabelCount {
                n_tokens,
                n_labels: example.labels.len(),
            });
        }
        statistics.n_examples += 1;
        statistics.n_tokens += n_tokens;
        if n_tokens <= max_len {
            return Ok(vec![example]);
        }
        statistics.n_too_long += 1;
        let n_loss_tokens = example.n_loss_tokens();
        let kept = match self {
            Self::KeepStart => {
                example.input_ids.truncate(max_len);
                example.labels.truncate(max_len);
                vec![example]
            }
            Self::KeepEnd => {
                example.input_ids.drain(..n_tokens - max_len);
                example.labels.drain(..n_tokens - max_len);
                vec![example]
            }
            Self::Drop => {
                statistics.n_dropped += 1;
                Vec::new()
            }
            Self::Windows { overlap_tokens } => {
                let windows = windows(&example, max_len, overlap_tokens);
                statistics.n_split += 1;
                statistics.n_windows += windows.len();
                statistics.n_repeated_tokens += (windows.len() - 1) * overlap_tokens;
                windows
            }
        };
        if !matches!(self, Self::Windows { .. }) {
            let n_kept: usize = kept.iter().map(|example| example.input_ids.len()).sum();
            statistics.n_lost_tokens += n_tokens - n_kept;
        }
        let n_kept_loss_tokens: usize = kept.iter().map(Example::n_loss_tokens).sum();
        statistics.n_lost_loss_tokens += n_loss_tokens - n_kept_loss_tokens;
        Ok(kept)
    }
}

impl TruncationStatistics {
    /// Adds the counts of other examples.
    pub fn add(&mut self, other: Self) {
        self.n_examples += other.n_examples;
        self.n_tokens += other.n_tokens;
        self.n_too_long += other.n_too_long;
        self.n_dropped += other.n_dropped;
        self.n_split += other.n_split;
        self.n_windows += other.n_windows;
        self.n_lost_tokens += other.n_lost_tokens;
        self.n_lost_loss_tokens += other.n_lost_loss_tokens;
        self.n_repeated_tokens += other.n_repeated_tokens;
    }
}

/// Windows of `max_len` tokens, of which each but the first repeats `overlap_tokens`, fewer than
/// `max_len`.
fn windows(example: &Example, max_len: usize, overlap_tokens: usize) -> Vec<Example> {
    let n_tokens = example.input_ids.len();
    let mut windows = Vec::new();
    let mut start = 0;
    loop {
        let end = n_tokens.min(start + max_len);
        let mut labels = example.labels[start..end].to_vec();
        if start > 0 {
            labels[..overlap_tokens].fill(IGNORE_LABEL);
        }
        windows.push(Example {
            input_ids: example.input_ids[start..end].to_vec(),
            labels,
        });
        if end == n_tokens {
            return windows;
        }
        start = end - overlap_tokens;
    }
}

#[cfg(test)]
mod tests;
