//! JSON Lines: one record per line.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use super::ReadOptions;
use super::convert::record_error;
use crate::source::{
    BlockFile, Boundary, BufferPool, Cutter, JsonFields, Line, Lines, Sizes, SourceOptions,
    field_names, parse_object,
};
use crate::{DataError, Place, PlaceUnit, Record, TextRecord};

/// Size of the pieces: the records of one are held.
const BLOCK_BYTES: usize = 1 << 18;

/// Reads `{"text": ..}` (with optional `id`, `title`, `year`, `mesh_terms`) and `{"messages": [..]}`
/// lines.
///
/// Other fields and empty lines are passed over. A bad line, or one past the limit, is an error that
/// names it; reading goes on at the next line. An error of the file ends the reading.
pub struct JsonlReader<R> {
    cutter: Cutter<R>,
    file: Arc<BlockFile>,
    ready: VecDeque<Result<Record, DataError>>,
}

impl<R: BufRead> JsonlReader<R> {
    /// Reads from any buffered input; `path` is what error messages call it.
    pub fn new(input: R, path: impl AsRef<Path>, options: ReadOptions) -> Self {
        let sizes = Sizes {
            block_bytes: BLOCK_BYTES,
            max_record_bytes: options.max_record_bytes,
        };
        let file = BlockFile {
            path: path.as_ref().to_path_buf(),
            options: SourceOptions::from(options),
        };
        Self {
            cutter: Cutter::new(input, Boundary::Line, sizes, &BufferPool::default()),
            file: Arc::new(file),
            ready: VecDeque::new(),
        }
    }

    /// Reads and parses the next lines; false at the end.
    fn refill(&mut self) -> bool {
        let Some(cut) = self.cutter.next() else {
            return false;
        };
        let records = match cut {
            Ok(cut) => match &cut.bytes {
                Some(bytes) => {
                    let lines = Lines::new(bytes, cut.number, &self.file);
                    let file = &self.file;
                    self.ready.extend(
                        lines.map(|line| record_of_line(&line.map_err(record_error)?, file)),
                    );
                    return true;
                }
                None => Err(record_error(
                    self.file.too_large(PlaceUnit::Line, cut.number),
                )),
            },
            Err(source) => Err(DataError::Read {
                place: place(&self.file.path, self.cutter.number()),
                source,
            }),
        };
        self.ready.push_back(records);
        true
    }
}

impl<R: BufRead> Iterator for JsonlReader<R> {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            if !self.refill() {
                return None;
            }
        }
        self.ready.pop_front()
    }
}

/// What a line holds: a text or a conversation.
pub(super) fn record_of_line(line: &Line<'_>, file: &BlockFile) -> Result<Record, DataError> {
    let path = &file.path;
    let text_field = &file.options.fields.text;
    let wrong_fields = |expected: &str, found: &str| {
        Err(DataError::WrongFields {
            place: place(path, line.number),
            expected: expected.to_owned(),
            found: found.to_string(),
        })
    };
    let fields = parse_object(line.text, &file.options.fields, true).map_err(|reason| {
        record_error(crate::source::BrokenRecord {
            place: place(path, line.number),
            reason,
        })
    })?;
    match (&fields.text, &fields.messages) {
        (Some(_), None) => Ok(Record::Text(text_record(fields))),
        (None, Some(messages)) if !messages.is_empty() => {
            Ok(Record::Chat(fields.messages.unwrap_or_default()))
        }
        (None, Some(_)) => wrong_fields("at least one message", "an empty list"),
        (None, None) => {
            let expected = format!("a field `{text_field}` or `messages`");
            wrong_fields(&expected, &field_names(line.text))
        }
        (Some(_), Some(_)) => {
            let expected = format!("one of `{text_field}` and `messages`");
            wrong_fields(&expected, "both")
        }
    }
}

fn text_record(fields: JsonFields<'_>) -> TextRecord {
    TextRecord {
        id: fields.id.map(Cow::into_owned),
        title: fields.title.map(Cow::into_owned),
        text: fields.text.map(Cow::into_owned).unwrap_or_default(),
        year: fields.year,
        mesh_terms: fields.mesh_terms.into_iter().map(Cow::into_owned).collect(),
    }
}

fn place(path: &Path, number: u64) -> Place {
    Place {
        path: path.to_path_buf(),
        unit: PlaceUnit::Line,
        number,
    }
}

#[cfg(test)]
mod tests;
