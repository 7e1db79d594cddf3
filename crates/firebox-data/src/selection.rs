//! Choosing records: by year, length and id, and every n-th one for evaluation.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{DataError, Record, TextRecord};

/// Which documents to keep. Every rule that is set must hold; conversations are not documents and
/// are left out.
///
/// # Examples
/// ```
/// use firebox_data::{Selection, TextRecord};
///
/// let selection = Selection { min_year: Some(1977), max_year: Some(1979), ..Selection::default() };
/// let mut record = TextRecord { year: Some(1978), ..TextRecord::default() };
/// assert!(selection.keeps(&record));
/// record.year = None;
/// assert!(!selection.keeps(&record));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// First year of publication; documents without year are left out.
    pub min_year: Option<u16>,
    /// Last year of publication, included; documents without year are left out.
    pub max_year: Option<u16>,
    /// Least length of the text (without title), in Unicode characters.
    pub min_chars: Option<usize>,
    /// Greatest length of the text (without title), in Unicode characters.
    pub max_chars: Option<usize>,
    /// Ids to leave out, for instance those held out for evaluation.
    pub exclude_ids: BTreeSet<String>,
    /// How many documents to take, from the first that fits.
    pub limit: Option<usize>,
}

impl Selection {
    /// Whether a document fits every rule; `limit` is the caller's to count.
    #[must_use]
    pub fn keeps(&self, record: &TextRecord) -> bool {
        let year_fits = match record.year {
            Some(year) => {
                self.min_year.is_none_or(|min| year >= min)
                    && self.max_year.is_none_or(|max| year <= max)
            }
            None => self.min_year.is_none() && self.max_year.is_none(),
        };
        let has_excluded_id = record
            .id
            .as_ref()
            .is_some_and(|id| self.exclude_ids.contains(id));
        year_fits && !has_excluded_id && self.length_fits(&record.text)
    }

    fn length_fits(&self, text: &str) -> bool {
        if self.min_chars.is_none() && self.max_chars.is_none() {
            return true;
        }
        let n_chars = text.chars().count();
        self.min_chars.is_none_or(|min| n_chars >= min)
            && self.max_chars.is_none_or(|max| n_chars <= max)
    }

    /// The documents that fit, in order, at most `limit`. Reading stops at the limit.
    ///
    /// # Errors
    /// The first error among the records read.
    pub fn select<I>(&self, records: I) -> Result<Vec<TextRecord>, DataError>
    where
        I: IntoIterator<Item = Result<Record, DataError>>,
    {
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut selected = Vec::new();
        if limit == 0 {
            return Ok(selected);
        }
        for record in records {
            if let Record::Text(record) = record?
                && self.keeps(&record)
            {
                selected.push(record);
                if selected.len() == limit {
                    break;
                }
            }
        }
        Ok(selected)
    }
}

/// What [`split_held_out`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split<T> {
    /// For evaluation only.
    pub held_out: Vec<T>,
    /// The rest, in order.
    pub training: Vec<T>,
}

/// The indices of `n` items spread evenly over `len`: every `len / n`-th, from the first.
///
/// All of them if there are fewer than `n`.
pub fn every_nth(len: usize, n: usize) -> impl Iterator<Item = usize> {
    let stride = len.checked_div(n).unwrap_or(0).max(1);
    (0..len).step_by(stride).take(n)
}

/// Holds out `n` items spread evenly over all, as [`every_nth`] counts them.
///
/// The rule needs no seed and no list: the same items give the same split.
#[must_use]
pub fn split_held_out<T>(items: Vec<T>, n: usize) -> Split<T> {
    let mut indices = every_nth(items.len(), n).peekable();
    let (mut held_out, mut training) = (Vec::new(), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        let side = if indices.next_if_eq(&index).is_some() {
            &mut held_out
        } else {
            &mut training
        };
        side.push(item);
    }
    Split { held_out, training }
}

#[cfg(test)]
mod tests;
