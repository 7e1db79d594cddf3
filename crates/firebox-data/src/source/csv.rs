//! Comma- and tab-separated values with a header.

use std::borrow::Cow;
use std::path::Path;

use ::csv::{ByteRecord, Reader, ReaderBuilder};

use super::block::BlockFile;
use super::error::shown_names;
use super::options::{Field, FieldNames};
use super::{BrokenReason, BrokenRecord, SourceError};
use crate::{Document, Place, PlaceUnit};

/// The columns that the header names.
#[derive(Debug)]
pub(crate) struct CsvColumns {
    delimiter: u8,
    /// What each column is.
    fields: Vec<Option<Field>>,
}

impl CsvColumns {
    /// Reads the header; also gives how many bytes and lines it has.
    pub(super) fn read(
        bytes: &[u8],
        delimiter: u8,
        path: &Path,
        names: &FieldNames,
    ) -> Result<(Self, usize, u64), SourceError> {
        let mut header = ByteRecord::new();
        let mut reader = reader(bytes, delimiter);
        reader
            .read_byte_record(&mut header)
            .map_err(|error| SourceError::Read {
                place: Place {
                    path: path.to_path_buf(),
                    unit: PlaceUnit::Line,
                    number: 1,
                },
                source: error.into(),
            })?;
        let found: Vec<Cow<'_, str>> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name.trim_ascii()))
            .collect();
        let fields: Vec<_> = found.iter().map(|name| names.field(name)).collect();
        if !fields.contains(&Some(Field::Text)) {
            return Err(SourceError::MissingColumn {
                path: path.to_path_buf(),
                expected: names.text.clone(),
                found: shown_names(found.iter().map(|name| &**name), "no columns"),
            });
        }
        let end = reader.position();
        let n_bytes = usize::try_from(end.byte()).unwrap_or(bytes.len());
        Ok((Self { delimiter, fields }, n_bytes, end.line() - 1))
    }
}

/// The documents of a block of CSV.
pub(super) struct CsvDocuments<'a> {
    bytes: &'a [u8],
    reader: Reader<&'a [u8]>,
    record: ByteRecord,
    columns: &'a CsvColumns,
    /// Line of the block's start.
    number: u64,
    file: &'a BlockFile,
}

impl<'a> CsvDocuments<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        number: u64,
        columns: &'a CsvColumns,
        file: &'a BlockFile,
    ) -> Self {
        Self {
            bytes,
            reader: reader(bytes, columns.delimiter),
            record: ByteRecord::new(),
            columns,
            number,
            file,
        }
    }

    /// Position and line of the next record: the blank lines before it are not part of it.
    fn start(&self) -> (u64, u64) {
        let position = self.reader.position();
        let at = usize::try_from(position.byte()).unwrap_or(usize::MAX);
        let blank = self.bytes.get(at..).unwrap_or_default().iter();
        let blank = blank.take_while(|byte| matches!(byte, b'\n' | b'\r'));
        let (n_bytes, n_lines) = blank.fold((0, 0), |(n_bytes, n_lines), &byte| {
            (n_bytes + 1, n_lines + u64::from(byte == b'\n'))
        });
        (
            position.byte() + n_bytes,
            self.number + position.line() - 1 + n_lines,
        )
    }

    fn document(&self, number: u64) -> Result<Document<'a>, BrokenReason> {
        if self.record.len() != self.columns.fields.len() {
            return Err(BrokenReason::WrongFields {
                expected: format!("{} columns, as in the header", self.columns.fields.len()),
                found: self.record.len().to_string(),
            });
        }
        let mut document = Document {
            number,
            ..Document::default()
        };
        for (value, field) in self.record.iter().zip(&self.columns.fields) {
            let Some(field) = field else { continue };
            let value = str::from_utf8(value).map_err(super::block::not_utf8)?;
            set_field(&mut document, *field, value)?;
        }
        Ok(document)
    }
}

impl<'a> Iterator for CsvDocuments<'a> {
    type Item = Result<Document<'a>, BrokenRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, number) = self.start();
        let is_record = self.reader.read_byte_record(&mut self.record);
        let result = match is_record {
            Ok(false) => return None,
            Ok(true) => {
                let n_bytes = self.reader.position().byte().saturating_sub(start);
                if n_bytes > self.file.options.max_record_bytes {
                    return Some(Err(self.file.too_large(PlaceUnit::Line, number)));
                }
                self.document(number)
            }
            Err(error) => Err(BrokenReason::WrongFields {
                expected: "a row".to_string(),
                found: error.to_string(),
            }),
        };
        Some(result.map_err(|reason| self.file.broken(PlaceUnit::Line, number, reason)))
    }
}

/// Rows of any length, quoted as RFC 4180 says; the header is a row like the others here.
fn reader(bytes: &[u8], delimiter: u8) -> Reader<&[u8]> {
    ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes)
}

fn set_field(document: &mut Document<'_>, field: Field, value: &str) -> Result<(), BrokenReason> {
    let owned = || Cow::Owned(value.to_string());
    let given = || (!value.is_empty()).then(owned);
    match field {
        Field::Text => document.text = owned(),
        Field::Id => document.id = given(),
        Field::Title => document.title = given(),
        Field::Year => document.year = year_of(value)?,
        Field::MeshTerms => {
            let terms = value
                .split(';')
                .map(str::trim)
                .filter(|term| !term.is_empty());
            document.mesh_terms = terms.map(|term| Cow::Owned(term.to_string())).collect();
        }
    }
    Ok(())
}

/// A year, or none where the cell is empty.
pub(super) fn year_of(value: &str) -> Result<Option<u16>, BrokenReason> {
    let value = value.trim();
    // Tables with gaps turn whole numbers into `1978.0`.
    let digits = value.strip_suffix(".0").unwrap_or(value);
    if value.is_empty() {
        return Ok(None);
    }
    digits
        .parse()
        .map(Some)
        .map_err(|_| BrokenReason::WrongFields {
            expected: "the year as a whole number up to 65535, or nothing".to_string(),
            found: format!("`{}`", value.chars().take(32).collect::<String>()),
        })
}

#[cfg(test)]
mod tests;
