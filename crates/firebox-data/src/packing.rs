//! Packing documents into rows of one length by best fit, without cutting any.

mod error;
mod free_space;
mod windows;

use free_space::FreeSpace;

pub use error::PackingError;
pub(crate) use windows::pack;
pub use windows::{PackWindows, pack_windows};

/// Puts documents of the given lengths into as few rows of `capacity` tokens as best-fit decreasing
/// finds: the longest first, each into the row that it leaves least free, or into a new one.
///
/// Returns the documents of each row, by index. Equal lengths keep their order, so the same lengths
/// give the same rows. Documents without tokens are in no row. It takes at most 11/9 of the rows of
/// the best packing, and one, and `O(n log capacity)` steps.
///
/// # Errors
/// [`PackingError::ZeroSize`], and [`PackingError::TooLong`] for a document longer than a row.
///
/// # Examples
/// ```
/// use firebox_data::best_fit_decreasing;
///
/// let rows = best_fit_decreasing(&[3, 5, 2, 6], 8)?;
/// assert_eq!(rows, [vec![3, 2], vec![1, 0]]); // 6 + 2 and 5 + 3 tokens
/// # Ok::<(), firebox_data::PackingError>(())
/// ```
///
/// Source: Johnson et al. (1974), <https://doi.org/10.1137/0203025>; for training, Ding et al.
/// (2024), <https://arxiv.org/abs/2404.10830>, section 3.
pub fn best_fit_decreasing(
    lengths: &[usize],
    capacity: usize,
) -> Result<Vec<Vec<usize>>, PackingError> {
    if capacity == 0 {
        return Err(PackingError::ZeroSize { name: "seq_len" });
    }
    if let Some(document) = lengths.iter().position(|&length| length > capacity) {
        return Err(PackingError::TooLong {
            document,
            n_tokens: lengths[document],
            capacity,
        });
    }
    let mut by_length: Vec<usize> = (0..lengths.len()).filter(|&i| lengths[i] > 0).collect();
    by_length.sort_by_key(|&document| std::cmp::Reverse(lengths[document]));

    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut free_space = FreeSpace::new(capacity);
    for document in by_length {
        let length = lengths[document];
        let (row, free) = match free_space.take_tightest(length) {
            Some(found) => found,
            None => {
                rows.push(Vec::new());
                (rows.len() - 1, capacity)
            }
        };
        rows[row].push(document);
        free_space.put(row, free - length);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
