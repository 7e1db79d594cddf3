//! The known columns of some rows of a table, and their documents.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ListArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field as ArrowField};
use arrow::error::ArrowError;

use super::super::block::BlockFile;
use super::super::csv::year_of;
use super::super::options::Field;
use super::super::{BrokenReason, BrokenRecord};
use crate::{Document, PlaceUnit};

/// The known columns of some rows.
#[derive(Debug)]
pub(in super::super) struct TextBatch {
    n_rows: usize,
    n_bytes: usize,
    text: Option<StringArray>,
    id: Option<StringArray>,
    title: Option<StringArray>,
    year: Option<StringArray>,
    mesh_terms: Option<Terms>,
}

#[derive(Debug)]
enum Terms {
    List(ListArray),
    /// Semicolons between the terms.
    Joined(StringArray),
}

pub(super) fn is_string(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, values) => is_string(values),
        _ => matches!(
            found,
            DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
        ),
    }
}

pub(super) fn list_type() -> DataType {
    DataType::List(Arc::new(ArrowField::new_list_field(DataType::Utf8, true)))
}

impl TextBatch {
    pub(super) fn new(batch: &RecordBatch, fields: &[Field]) -> Result<Self, ArrowError> {
        let mut found = Self {
            n_rows: batch.num_rows(),
            n_bytes: batch.get_array_memory_size(),
            text: None,
            id: None,
            title: None,
            year: None,
            mesh_terms: None,
        };
        for (column, field) in batch.columns().iter().zip(fields) {
            match field {
                Field::Text => found.text = Some(strings(column)?),
                Field::Id => found.id = Some(strings(column)?),
                Field::Title => found.title = Some(strings(column)?),
                Field::Year => found.year = Some(strings(column)?),
                Field::MeshTerms => found.mesh_terms = Some(Terms::new(column)?),
            }
        }
        Ok(found)
    }

    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Size of the columns in memory.
    pub(in super::super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn document(&self, row: usize) -> Result<Document<'_>, BrokenReason> {
        let Some(text) = value(self.text.as_ref(), row) else {
            return Err(BrokenReason::WrongFields {
                expected: "a text".to_string(),
                found: "null, or bytes that are not UTF-8".to_string(),
            });
        };
        Ok(Document {
            text: Cow::Borrowed(text),
            id: value(self.id.as_ref(), row).map(Cow::Borrowed),
            title: value(self.title.as_ref(), row).map(Cow::Borrowed),
            year: year_of(value(self.year.as_ref(), row).unwrap_or_default())?,
            mesh_terms: self
                .mesh_terms
                .as_ref()
                .map(|terms| terms.of(row))
                .unwrap_or_default(),
            ..Document::default()
        })
    }
}

impl Terms {
    fn new(column: &dyn Array) -> Result<Self, ArrowError> {
        if is_string(column.data_type()) {
            return Ok(Self::Joined(strings(column)?));
        }
        let lists = cast(column, &list_type())?;
        let lists = lists.as_any().downcast_ref::<ListArray>();
        lists.cloned().map(Self::List).ok_or_else(unexpected_array)
    }

    fn of(&self, row: usize) -> Vec<Cow<'_, str>> {
        match self {
            Self::Joined(terms) => value(Some(terms), row)
                .unwrap_or_default()
                .split(';')
                .map(str::trim)
                .filter(|term| !term.is_empty())
                .map(Cow::Borrowed)
                .collect(),
            Self::List(lists) if lists.is_valid(row) => {
                let Some(terms) = lists.values().as_any().downcast_ref::<StringArray>() else {
                    return Vec::new();
                };
                let offsets = lists.value_offsets();
                let range =
                    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize;
                range
                    .filter_map(|at| value(Some(terms), at))
                    .map(Cow::Borrowed)
                    .collect()
            }
            Self::List(_) => Vec::new(),
        }
    }
}

/// A column as strings; what is not a string in the file becomes one.
fn strings(column: &dyn Array) -> Result<StringArray, ArrowError> {
    let column = cast(column, &DataType::Utf8)?;
    let strings = column.as_any().downcast_ref::<StringArray>();
    strings.cloned().ok_or_else(unexpected_array)
}

fn unexpected_array() -> ArrowError {
    ArrowError::CastError("expected the type that was cast to, found another".to_string())
}

fn value(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column
        .filter(|column| column.is_valid(row))
        .map(|column| column.value(row))
}

/// The documents of a batch.
pub(in super::super) struct BatchDocuments<'a> {
    batch: &'a TextBatch,
    row: usize,
    number: u64,
    file: &'a BlockFile,
}

impl<'a> BatchDocuments<'a> {
    pub(in super::super) fn new(batch: &'a TextBatch, number: u64, file: &'a BlockFile) -> Self {
        Self {
            batch,
            row: 0,
            number,
            file,
        }
    }
}

impl<'a> Iterator for BatchDocuments<'a> {
    type Item = Result<Document<'a>, BrokenRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.row;
        if row >= self.batch.n_rows {
            return None;
        }
        self.row += 1;
        let number = self.number + row as u64;
        let document = self.batch.document(row).and_then(|document| {
            match self.file.is_too_large(document.text.len()) {
                true => Err(BrokenReason::TooLarge {
                    limit_bytes: self.file.options.max_record_bytes,
                }),
                false => Ok(Document { number, ..document }),
            }
        });
        Some(document.map_err(|reason| self.file.broken(PlaceUnit::Record, number, reason)))
    }
}
