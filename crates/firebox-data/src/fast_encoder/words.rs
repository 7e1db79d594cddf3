//! From a text between added tokens to words.

use tokenizers::pre_tokenizers::metaspace::PrependScheme;

use super::scanner::Scanner;

/// How a text becomes words.
#[derive(Debug)]
pub(super) enum Words {
    /// Bytes, split by a pattern.
    Scanned {
        scanner: Box<Scanner>,
        /// Whether runs of numeric characters are split from the rest first.
        splits_numbers: bool,
        /// Whether a space is put before a text that has none.
        adds_space: bool,
    },
    /// Bytes, not split.
    WholeBytes {
        /// Whether a space is put before a text that has none.
        adds_space: bool,
    },
    /// Characters, not split.
    WholeChars,
    /// Characters, spaces made visible.
    Metaspace {
        /// What a space becomes.
        mark: char,
        /// Where it is put before a text that has none.
        prepend: PrependScheme,
        /// Whether words start at each of them.
        splits: bool,
    },
}

impl Words {
    /// Calls `visit` with each word of a text that is not empty: the bytes of a text that it lies in,
    /// and where. `opens_document` is whether the text is the document's start; `buffer` is for a text
    /// that has to be written anew.
    #[inline]
    pub(super) fn for_each(
        &self,
        text: &str,
        opens_document: bool,
        buffer: &mut String,
        mut visit: impl FnMut(&[u8], (usize, usize)),
    ) {
        match self {
            Self::Scanned {
                scanner,
                splits_numbers,
                adds_space,
            } => {
                let text = with_space(text, *adds_space, buffer);
                if *splits_numbers {
                    for part in numeric_runs(text) {
                        scan(scanner, part.as_bytes(), &mut visit);
                    }
                } else {
                    scan(scanner, text.as_bytes(), &mut visit);
                }
            }
            Self::WholeBytes { adds_space } => {
                let text = with_space(text, *adds_space, buffer);
                visit(text.as_bytes(), (0, text.len()));
            }
            Self::WholeChars => visit(text.as_bytes(), (0, text.len())),
            Self::Metaspace {
                mark,
                prepend,
                splits,
            } => {
                write_marks(text, *mark, *prepend, opens_document, buffer);
                let bytes = buffer.as_bytes();
                let mut start = 0;
                if *splits {
                    for (at, _) in buffer.match_indices(*mark).filter(|(at, _)| *at > 0) {
                        visit(bytes, (start, at));
                        start = at;
                    }
                }
                visit(bytes, (start, bytes.len()));
            }
        }
    }
}

#[inline]
fn scan(scanner: &Scanner, text: &[u8], visit: &mut impl FnMut(&[u8], (usize, usize))) {
    let mut start = 0;
    while start < text.len() {
        let end = scanner.word_end(text, start);
        visit(text, (start, end));
        start = end;
    }
}

/// The text, behind a space if it has none and should.
fn with_space<'a>(text: &'a str, adds_space: bool, buffer: &'a mut String) -> &'a str {
    if !adds_space || text.starts_with(' ') {
        return text;
    }
    buffer.clear();
    buffer.push(' ');
    buffer.push_str(text);
    buffer
}

fn write_marks(
    text: &str,
    mark: char,
    prepend: PrependScheme,
    opens_document: bool,
    buffer: &mut String,
) {
    buffer.clear();
    let prepends = match prepend {
        PrependScheme::Always => true,
        PrependScheme::First => opens_document,
        PrependScheme::Never => false,
    };
    if prepends && !text.starts_with([' ', mark]) {
        buffer.push(mark);
    }
    buffer.extend(text.chars().map(|c| if c == ' ' { mark } else { c }));
}

/// Runs of numeric characters, and what is between them.
fn numeric_runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_numeric = rest.chars().next()?.is_numeric();
        let end = rest.find(|c: char| c.is_numeric() != is_numeric);
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        Some(part)
    })
}
