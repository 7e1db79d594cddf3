//! Parquet files, a record batch a block.

mod batch;

use std::fs::File;
use std::path::Path;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use ::parquet::errors::ParquetError;
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field as ArrowField, Schema};

use super::error::shown_names;
use super::options::{Field, FieldNames};
use super::{SourceError, SourceOptions};
use crate::{Place, PlaceUnit};

pub(super) use batch::{BatchDocuments, TextBatch};
use batch::{is_string, list_type};

/// Most rows of a block.
const MAX_ROWS: u64 = 1 << 16;

/// The record batches of a file, with the known columns only.
pub(super) struct Batches {
    reader: ParquetRecordBatchReader,
    fields: Vec<Field>,
    /// Number of the next row, from 1.
    number: u64,
    is_done: bool,
}

impl Batches {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|source| SourceError::Open {
            path: path.to_path_buf(),
            source,
        })?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|source| parquet_error(path, 1, source))?;
        let columns = known_columns(builder.schema(), path, &options.fields)?;
        let roots: Vec<usize> = columns.iter().map(|&(root, _)| root).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let (n_rows, n_bytes) =
            builder
                .metadata()
                .row_groups()
                .iter()
                .fold((0, 1), |(n_rows, n_bytes), group| {
                    let n_group_bytes: i64 = (0..group.num_columns())
                        .filter(|&leaf| mask.leaf_included(leaf))
                        .map(|leaf| group.column(leaf).uncompressed_size().max(0))
                        .sum();
                    (
                        n_rows + group.num_rows().max(0).unsigned_abs(),
                        n_bytes + n_group_bytes.unsigned_abs(),
                    )
                });
        let rows = (options.block_bytes as u64).saturating_mul(n_rows) / n_bytes;
        let reader = builder
            .with_projection(mask)
            .with_batch_size(usize::try_from(rows.clamp(1, MAX_ROWS)).unwrap_or(1))
            .build()
            .map_err(|source| parquet_error(path, 1, source))?;
        Ok(Self {
            reader,
            fields: columns.into_iter().map(|(_, field)| field).collect(),
            number: 1,
            is_done: false,
        })
    }

    /// The next batch, and the number of its first row. After an error comes nothing more.
    pub(super) fn next(&mut self, path: &Path) -> Option<Result<(u64, TextBatch), SourceError>> {
        if self.is_done {
            return None;
        }
        let batch = self
            .reader
            .next()?
            .and_then(|batch| TextBatch::new(&batch, &self.fields));
        let number = self.number;
        Some(match batch {
            Ok(batch) => {
                self.number += batch.n_rows() as u64;
                Ok((number, batch))
            }
            Err(error) => {
                self.is_done = true;
                Err(parquet_error(path, number, error.into()))
            }
        })
    }
}

fn parquet_error(path: &Path, number: u64, source: ParquetError) -> SourceError {
    SourceError::Parquet {
        place: Place {
            path: path.to_path_buf(),
            unit: PlaceUnit::Record,
            number,
        },
        source: Box::new(source),
    }
}

/// The columns that are read, by their place in the schema.
fn known_columns(
    schema: &Schema,
    path: &Path,
    names: &FieldNames,
) -> Result<Vec<(usize, Field)>, SourceError> {
    let mut columns = Vec::new();
    for (root, column) in schema.fields().iter().enumerate() {
        let Some(field) = names.field(column.name()) else {
            continue;
        };
        check_type(column, field, path)?;
        columns.push((root, field));
    }
    if columns.iter().any(|&(_, field)| field == Field::Text) {
        return Ok(columns);
    }
    Err(SourceError::MissingColumn {
        path: path.to_path_buf(),
        expected: names.text.clone(),
        found: shown_names(
            schema.fields().iter().map(|column| column.name().as_str()),
            "no columns",
        ),
    })
}

fn check_type(column: &ArrowField, field: Field, path: &Path) -> Result<(), SourceError> {
    let found = column.data_type();
    let (is_right, expected) = match field {
        Field::Text => (is_string(found), "strings"),
        Field::MeshTerms => (
            is_string(found)
                || matches!(found, DataType::List(_)) && can_cast_types(found, &list_type()),
            "lists of strings, or strings",
        ),
        Field::Id | Field::Title | Field::Year => {
            (can_cast_types(found, &DataType::Utf8), "strings or numbers")
        }
    };
    match is_right {
        true => Ok(()),
        false => Err(SourceError::WrongColumn {
            path: path.to_path_buf(),
            column: column.name().clone(),
            expected,
            found: found.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests;
