//! Packing a stream of examples, window by window, in bounded memory.

use std::vec::IntoIter;

use super::best_fit_decreasing;
use crate::{Example, PackingError};

/// Rows packed from a stream; see [`pack_windows`].
#[derive(Debug)]
pub struct PackWindows<I> {
    examples: I,
    seq_len: usize,
    window_tokens: usize,
    /// What the next window begins with.
    carried: Vec<Example>,
    rows: IntoIter<Vec<Example>>,
    is_done: bool,
}

/// Packs a stream of examples into rows of at most `seq_len` tokens: `window_tokens` of them (two
/// rows' at least) are held and packed at a time, by [`best_fit_decreasing`].
///
/// The one row of a window that may stay less than half full is not given out but packed again with
/// the next window, so that windows cost little: two such rows cannot be, the documents of one would
/// have gone into the other. Every document with tokens comes out once.
///
/// # Errors
/// [`PackingError::ZeroSize`]; the rows may be [`PackingError::TooLong`] or
/// [`PackingError::LabelCount`], after which nothing more comes.
///
/// # Examples
/// ```
/// use firebox_data::{Example, pack_windows};
///
/// # fn main() -> Result<(), firebox_data::PackingError> {
/// let documents = [3, 5, 2, 6].map(|length| Example::from_ids(vec![1; length]));
/// let rows: Vec<_> = pack_windows(documents, 8, 1000)?.collect::<Result<_, _>>()?;
/// assert_eq!(rows.len(), 2);
/// # Ok(())
/// # }
/// ```
pub fn pack_windows<I>(
    examples: I,
    seq_len: usize,
    window_tokens: usize,
) -> Result<PackWindows<I::IntoIter>, PackingError>
where
    I: IntoIterator<Item = Example>,
{
    for (name, size) in [("seq_len", seq_len), ("window_tokens", window_tokens)] {
        if size == 0 {
            return Err(PackingError::ZeroSize { name });
        }
    }
    Ok(PackWindows {
        examples: examples.into_iter(),
        seq_len,
        window_tokens: window_tokens.max(seq_len.saturating_mul(2)),
        carried: Vec::new(),
        rows: Vec::new().into_iter(),
        is_done: false,
    })
}

impl<I: Iterator<Item = Example>> PackWindows<I> {
    fn pack_next_window(&mut self) -> Result<(), PackingError> {
        let mut window = std::mem::take(&mut self.carried);
        let mut n_tokens: usize = window.iter().map(|example| example.input_ids.len()).sum();
        while n_tokens < self.window_tokens {
            let Some(example) = self.examples.next() else {
                self.is_done = true;
                break;
            };
            n_tokens += example.input_ids.len();
            window.push(example);
        }
        let mut rows = pack(window, self.seq_len)?;
        if !self.is_done
            && let Some(open) = rows
                .iter()
                .position(|row| 2 * n_tokens_of(row) < self.seq_len)
        {
            self.carried = rows.remove(open);
        }
        self.rows = rows.into_iter();
        Ok(())
    }
}

impl<I: Iterator<Item = Example>> Iterator for PackWindows<I> {
    type Item = Result<Vec<Example>, PackingError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            if self.is_done {
                return None;
            }
            if let Err(error) = self.pack_next_window() {
                self.is_done = true;
                return Some(Err(error));
            }
        }
    }
}

/// Packs examples into rows by best fit, each moved into its row.
pub(crate) fn pack(
    examples: Vec<Example>,
    seq_len: usize,
) -> Result<Vec<Vec<Example>>, PackingError> {
    let mut lengths = Vec::with_capacity(examples.len());
    for example in &examples {
        let (n_tokens, n_labels) = (example.input_ids.len(), example.labels.len());
        if n_tokens != n_labels {
            return Err(PackingError::LabelCount { n_tokens, n_labels });
        }
        lengths.push(n_tokens);
    }
    let rows = best_fit_decreasing(&lengths, seq_len)?;
    let mut examples: Vec<Option<Example>> = examples.into_iter().map(Some).collect();
    let mut take = |document: usize| examples[document].take();
    Ok(rows
        .into_iter()
        .map(|row| row.into_iter().filter_map(&mut take).collect())
        .collect())
}

fn n_tokens_of(row: &[Example]) -> usize {
    row.iter().map(|example| example.input_ids.len()).sum()
}
