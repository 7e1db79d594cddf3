//! Where records end in a stream that comes in pieces.

use memchr::{memchr, memchr_iter, memchr2, memmem, memrchr};

/// Ends a citation; a space may come before its `>`.
const CITATION_END: &[u8] = b"</PubmedArticle";

/// Longest end of a citation that is found across two pieces: the tag and some space.
const CITATION_END_MAX: usize = 64;

/// What ends a record.
pub(crate) enum Boundary {
    /// A line feed.
    Line,
    /// A line feed outside quotes.
    Csv(CsvState),
    /// `</PubmedArticle>`.
    Citation,
    /// Nothing but the end of the file.
    File,
}

/// Where a CSV stream is, between two pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CsvState {
    delimiter: u8,
    quotes: Quotes,
}

#[derive(Debug, Clone, Copy)]
enum Quotes {
    /// Outside quotes, behind this byte.
    Outside {
        previous: u8,
    },
    Inside,
    /// Behind a quote that ends the field, unless another follows.
    Ending,
}

/// The ends of records within a piece, as offsets just past them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) first: Option<usize>,
    pub(crate) last: Option<usize>,
}

impl Boundary {
    pub(crate) fn csv(delimiter: u8) -> Self {
        Self::Csv(CsvState {
            delimiter,
            quotes: Quotes::Outside { previous: b'\n' },
        })
    }

    /// The ends of records in `bytes`, of which those before `from` were looked at before.
    pub(crate) fn scan(&mut self, bytes: &[u8], from: usize) -> Ends {
        match self {
            Self::Line => Ends {
                first: memchr(b'\n', &bytes[from..]).map(|at| from + at + 1),
                last: memrchr(b'\n', &bytes[from..]).map(|at| from + at + 1),
            },
            Self::Csv(state) => state.scan(bytes, from),
            Self::Citation => scan_citations(bytes, from),
            Self::File => Ends::default(),
        }
    }

    /// Forgets what it saw: the next scan starts at a record.
    pub(crate) fn restart(&mut self) {
        if let Self::Csv(state) = self {
            *self = Self::csv(state.delimiter);
        }
    }

    /// How much of what was looked at must be kept for the next scan when the rest is thrown away.
    pub(crate) fn overlap(&self) -> usize {
        match self {
            Self::Citation => CITATION_END_MAX,
            _ => 0,
        }
    }

    /// How far record numbers advance over whole records.
    pub(crate) fn count(&self, bytes: &[u8]) -> u64 {
        let n = match self {
            Self::Line | Self::Csv(_) => memchr_iter(b'\n', bytes).count(),
            Self::Citation => citation_ends(bytes, 0).count(),
            Self::File => 1,
        };
        n as u64
    }
}

impl CsvState {
    /// Follows the quotes as the `csv` crate does: one opens a quoted field only where a field
    /// starts, and inside, two are one.
    fn scan(&mut self, bytes: &[u8], from: usize) -> Ends {
        let mut ends = Ends::default();
        let mut at = from;
        while at < bytes.len() {
            match self.quotes {
                Quotes::Inside => match memchr(b'"', &bytes[at..]) {
                    Some(n) => {
                        at += n + 1;
                        self.quotes = Quotes::Ending;
                    }
                    None => break,
                },
                Quotes::Ending if bytes[at] == b'"' => {
                    at += 1;
                    self.quotes = Quotes::Inside;
                }
                Quotes::Ending => self.quotes = Quotes::Outside { previous: b'"' },
                Quotes::Outside { previous } => {
                    let Some(n) = memchr2(b'"', b'\n', &bytes[at..]) else {
                        let previous = bytes[bytes.len() - 1];
                        self.quotes = Quotes::Outside { previous };
                        break;
                    };
                    let before = if n == 0 { previous } else { bytes[at + n - 1] };
                    at += n + 1;
                    let found = bytes[at - 1];
                    if found == b'\n' {
                        ends.first.get_or_insert(at);
                        ends.last = Some(at);
                    }
                    let opens = found == b'"'
                        && (before == self.delimiter || matches!(before, b'\n' | b'\r'));
                    self.quotes = match opens {
                        true => Quotes::Inside,
                        false => Quotes::Outside { previous: found },
                    };
                }
            }
        }
        ends
    }
}

fn scan_citations(bytes: &[u8], from: usize) -> Ends {
    let from = from.saturating_sub(CITATION_END_MAX);
    Ends {
        first: citation_ends(bytes, from).next(),
        last: memmem::rfind_iter(&bytes[from..], CITATION_END)
            .find_map(|at| citation_end(bytes, from + at)),
    }
}

/// The ends of citations from `from` on, in order, as offsets just past the tag.
pub(crate) fn citation_ends(bytes: &[u8], from: usize) -> impl Iterator<Item = usize> {
    memmem::find_iter(&bytes[from..], CITATION_END)
        .filter_map(move |at| citation_end(bytes, from + at))
}

/// The end of the tag that starts at `at`; none for `</PubmedArticleSet>`.
fn citation_end(bytes: &[u8], at: usize) -> Option<usize> {
    let tail = &bytes[at + CITATION_END.len()..];
    let n_spaces = tail
        .iter()
        .take(CITATION_END_MAX / 2)
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    (tail.get(n_spaces) == Some(&b'>')).then_some(at + CITATION_END.len() + n_spaces + 1)
}

/// Whether the start of a MEDLINE file opens a `<PubmedArticleSet>` around its citations.
pub(crate) fn opens_set(bytes: &[u8]) -> bool {
    let name = b"<PubmedArticle";
    let end = citation_ends(bytes, 0).next().unwrap_or(bytes.len());
    memmem::find(&bytes[..end], name).is_some_and(|at| bytes[at + name.len()..].starts_with(b"Set"))
}

#[cfg(test)]
mod tests;
