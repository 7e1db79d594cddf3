//! JSON Lines: one object a line.

use memchr::memchr;

use super::block::{BlockFile, not_utf8};
use super::json_object::{JsonFields, parse_object};
use super::{BrokenReason, BrokenRecord};
use crate::{Document, PlaceUnit};

/// The lines of a block that are not blank.
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    /// The same bytes, if all of them are UTF-8.
    text: Option<&'a str>,
    at: usize,
    number: u64,
    file: &'a BlockFile,
}

/// A line and its number.
pub(crate) struct Line<'a> {
    pub(crate) number: u64,
    pub(crate) text: &'a str,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8], number: u64, file: &'a BlockFile) -> Self {
        Self {
            bytes,
            text: str::from_utf8(bytes).ok(),
            at: 0,
            number,
            file,
        }
    }

    fn line(&self, start: usize, end: usize, number: u64) -> Result<Line<'a>, BrokenRecord> {
        // Lines end at ASCII bytes, so that the text can be cut there.
        let text = match self.text.and_then(|text| text.get(start..end)) {
            Some(text) => text,
            None => str::from_utf8(&self.bytes[start..end])
                .map_err(|error| self.file.broken(PlaceUnit::Line, number, not_utf8(error)))?,
        };
        Ok(Line { number, text })
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, BrokenRecord>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.bytes.len() {
            let (mut start, number) = (self.at, self.number);
            let rest = &self.bytes[start..];
            let n_bytes = memchr(b'\n', rest).unwrap_or(rest.len());
            self.at += n_bytes + 1;
            self.number += 1;
            if self.file.is_too_large(n_bytes) {
                return Some(Err(self.file.too_large(PlaceUnit::Line, number)));
            }
            let mut end = start + n_bytes;
            while end > start && self.bytes[end - 1].is_ascii_whitespace() {
                end -= 1;
            }
            while start < end && self.bytes[start].is_ascii_whitespace() {
                start += 1;
            }
            if start < end {
                return Some(self.line(start, end, number));
            }
        }
        None
    }
}

/// The documents of a block of JSON lines.
pub(super) struct JsonlDocuments<'a> {
    lines: Lines<'a>,
}

impl<'a> JsonlDocuments<'a> {
    pub(super) fn new(bytes: &'a [u8], number: u64, file: &'a BlockFile) -> Self {
        Self {
            lines: Lines::new(bytes, number, file),
        }
    }
}

impl<'a> Iterator for JsonlDocuments<'a> {
    type Item = Result<Document<'a>, BrokenRecord>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let file = self.lines.file;
        Some(self.lines.next()?.and_then(|line| {
            document_of(&line, file)
                .map_err(|reason| file.broken(PlaceUnit::Line, line.number, reason))
        }))
    }
}

#[inline]
fn document_of<'a>(line: &Line<'a>, file: &BlockFile) -> Result<Document<'a>, BrokenReason> {
    let names = &file.options.fields;
    let fields: JsonFields<'a> = parse_object(line.text, names, false)?;
    let Some(text) = fields.text else {
        return Err(BrokenReason::WrongFields {
            expected: format!("a field `{}` with the text", names.text),
            found: super::json_object::field_names(line.text),
        });
    };
    Ok(Document {
        number: line.number,
        id: fields.id,
        title: fields.title,
        text,
        year: fields.year,
        mesh_terms: fields.mesh_terms,
        source: Some(line.text),
    })
}

#[cfg(test)]
mod tests;
