//! JSON Lines: one record per line.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, Visitor};

use super::ReadOptions;
use super::record_limit::{RecordLimit, is_past_limit};
use crate::{DataError, Message, Place, PlaceUnit, Record, TextRecord};

/// Names of a line's fields in an error message, at most.
const MAX_FIELDS_SHOWN: usize = 8;

/// Reads `{"text": ..}` (with optional `id`, `title`, `year`) and `{"messages": [..]}` lines.
///
/// Other fields and empty lines are passed over. A bad line is an error that names it; reading
/// goes on at the next line. A line past the limit, or an error of the file, ends the reading.
pub struct JsonlReader<R> {
    input: RecordLimit<R>,
    path: PathBuf,
    line: Vec<u8>,
    line_number: u64,
    is_done: bool,
}

/// The fields that are read; all else is skipped without being stored.
#[derive(Deserialize)]
struct Line {
    text: Option<String>,
    messages: Option<Vec<Message>>,
    #[serde(default)]
    id: Option<Scalar>,
    title: Option<String>,
    #[serde(default)]
    year: Option<Scalar>,
}

/// A string or a whole number, as text: ids and years come as either.
struct Scalar(String);

impl<R: BufRead> JsonlReader<R> {
    /// Reads from any buffered input; `path` is what error messages call it.
    pub fn new(input: R, path: impl AsRef<Path>, options: ReadOptions) -> Self {
        Self {
            input: RecordLimit::new(input, options.max_record_bytes),
            path: path.as_ref().to_path_buf(),
            line: Vec::new(),
            line_number: 0,
            is_done: false,
        }
    }

    /// Reads one line without its end; false at the end of the file.
    fn next_line(&mut self) -> Result<bool, DataError> {
        self.line.clear();
        self.line_number += 1;
        self.input.reset();
        self.input
            .read_until(b'\n', &mut self.line)
            .map_err(|source| {
                self.is_done = true;
                let place = self.place();
                if is_past_limit(&source) {
                    DataError::RecordTooLarge {
                        place,
                        limit_bytes: self.input.limit_bytes(),
                    }
                } else {
                    DataError::Read { place, source }
                }
            })?;
        let is_end = self.line.is_empty();
        if self.line_number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        Ok(!is_end)
    }

    fn parse(&self) -> Result<Record, DataError> {
        let line = str::from_utf8(&self.line).map_err(|error| DataError::NotUtf8 {
            place: self.place(),
            valid_bytes: error.valid_up_to(),
        })?;
        let fields: Line = serde_json::from_str(line).map_err(|source| DataError::Json {
            place: self.place(),
            source,
        })?;
        match (fields.text, fields.messages) {
            (Some(text), None) => Ok(Record::Text(TextRecord {
                id: fields.id.map(|id| id.0),
                title: fields.title,
                text,
                year: fields
                    .year
                    .map(|year| self.parse_year(&year.0))
                    .transpose()?,
            })),
            (None, Some(messages)) if !messages.is_empty() => Ok(Record::Chat(messages)),
            (None, Some(_)) => {
                Err(self.wrong_fields("at least one message", "an empty list".to_string()))
            }
            (None, None) => {
                Err(self.wrong_fields("a field `text` or `messages`", field_names(line)))
            }
            (Some(_), Some(_)) => {
                Err(self.wrong_fields("one of `text` and `messages`", "both".to_string()))
            }
        }
    }

    fn parse_year(&self, year: &str) -> Result<u16, DataError> {
        year.trim().parse().map_err(|_| {
            self.wrong_fields(
                "`year` as a whole number up to 65535, or null",
                format!("`{year}`"),
            )
        })
    }

    fn wrong_fields(&self, expected: &'static str, found: String) -> DataError {
        DataError::WrongFields {
            place: self.place(),
            expected,
            found,
        }
    }

    fn place(&self) -> Place {
        Place {
            path: self.path.clone(),
            unit: PlaceUnit::Line,
            number: self.line_number,
        }
    }
}

impl<R: BufRead> Iterator for JsonlReader<R> {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            match self.next_line() {
                Ok(true) if self.line.trim_ascii().is_empty() => {}
                Ok(true) => return Some(self.parse()),
                Ok(false) => self.is_done = true,
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// The fields that a line does have.
fn field_names(line: &str) -> String {
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_str(line).unwrap_or_default();
    if fields.is_empty() {
        return "no fields".to_string();
    }
    let names = fields.keys().take(MAX_FIELDS_SHOWN).map(|name| {
        let short: String = name.chars().take(32).collect();
        format!("`{short}`")
    });
    names.collect::<Vec<_>>().join(", ")
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;

        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a whole number")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }

        deserializer.deserialize_any(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests;
