//! Parquet files, a record batch at a time.
//!
//! Columns are taken by name and turned into strings exactly as `firebox-data` does with files on disk;
//! the code is not shared because DataFusion's Arrow is another version than that crate's.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use datafusion::arrow::compute::{can_cast_types, cast};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use firebox_data::Document;
use futures_util::TryStreamExt;
use object_store::buffered::BufReader;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{BATCH_ROWS, BatchSender, ReadLimits, is_full};
use crate::columns::ColumnBuilder;
use crate::store::Location;

/// Columns that are read.
const COLUMNS: [&str; 5] = ["text", "id", "title", "year", "mesh_terms"];

/// Reads a file and sends its batches.
pub(super) async fn read(
    (index, url): (u32, &str),
    limits: ReadLimits,
    (store, location): (Arc<dyn ObjectStore>, Location),
    sender: &BatchSender,
) -> Result<()> {
    let meta = store.head(&location.path).await?;
    let input = BufReader::new(store, &meta);
    let reader = ParquetRecordBatchStreamBuilder::new(input).await?;
    check_columns(reader.schema(), url)?;
    let roots = reader.schema().fields().iter().enumerate();
    let roots = roots.filter(|(_, field)| COLUMNS.contains(&field.name().as_str()));
    let roots: Vec<usize> = roots.map(|(root, _)| root).collect();
    let mask = ProjectionMask::roots(reader.parquet_schema(), roots);
    let mut batches = reader
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()?;
    let mut builder = ColumnBuilder::new(index);
    let mut number = 1;
    while let Some(batch) = batches.try_next().await? {
        let rows = TextRows::new(&batch)?;
        for row in 0..batch.num_rows() {
            match rows.document(row, limits) {
                Ok(document) => builder.push(&Document { number, ..document }),
                Err(reason) => {
                    let reason = format!("read `{url}`, record {number}: {reason}");
                    builder.push_broken(number, &reason);
                }
            }
            number += 1;
            if is_full(&builder) && !sender.send(&builder.finish()?).await? {
                return Ok(());
            }
        }
    }
    if builder.n_rows() > 0 {
        sender.send(&builder.finish()?).await?;
    }
    Ok(())
}

/// The known columns of some rows.
struct TextRows {
    text: Option<StringArray>,
    id: Option<StringArray>,
    title: Option<StringArray>,
    year: Option<StringArray>,
    mesh_terms: Option<MeshTerms>,
}

enum MeshTerms {
    List(ListArray),
    /// Semicolons between the terms.
    Joined(StringArray),
}

impl TextRows {
    fn new(batch: &RecordBatch) -> Result<Self> {
        let column = |name: &str| batch.column_by_name(name).map(strings).transpose();
        Ok(Self {
            text: column("text")?,
            id: column("id")?,
            title: column("title")?,
            year: column("year")?,
            mesh_terms: batch
                .column_by_name("mesh_terms")
                .map(MeshTerms::new)
                .transpose()?,
        })
    }

    /// A row, or what is wrong with it.
    fn document(
        &self,
        row: usize,
        limits: ReadLimits,
    ) -> std::result::Result<Document<'_>, String> {
        let text = value(self.text.as_ref(), row).ok_or("expected a text, found null")?;
        if text.len() as u64 > limits.max_record_bytes {
            let (limit, found) = (limits.max_record_bytes, text.len());
            return Err(format!("expected at most {limit} bytes, found {found}"));
        }
        let year = value(self.year.as_ref(), row).unwrap_or_default().trim();
        let year = match year {
            "" => None,
            year => Some(
                year.parse()
                    .map_err(|_| format!("expected a year up to 65535, or null, found `{year}`"))?,
            ),
        };
        Ok(Document {
            text: Cow::Borrowed(text),
            id: value(self.id.as_ref(), row).map(Cow::Borrowed),
            title: value(self.title.as_ref(), row).map(Cow::Borrowed),
            year,
            mesh_terms: match &self.mesh_terms {
                Some(terms) => terms.of(row),
                None => Vec::new(),
            },
            ..Document::default()
        })
    }
}

impl MeshTerms {
    fn new(column: &ArrayRef) -> Result<Self> {
        if is_string(column.data_type()) {
            return Ok(Self::Joined(strings(column)?));
        }
        Ok(Self::List(cast(column, &list_type())?.as_list().clone()))
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
                let terms: &StringArray = lists.values().as_string();
                let offsets = lists.value_offsets();
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                range
                    .filter_map(|at| value(Some(terms), at))
                    .map(Cow::Borrowed)
                    .collect()
            }
            Self::List(_) => Vec::new(),
        }
    }
}

fn check_columns(schema: &Schema, url: &str) -> Result<()> {
    let wrong = |expected: &str, found: String| {
        DataFusionError::Plan(format!("read `{url}`: expected {expected}, found {found}"))
    };
    if schema.column_with_name("text").is_none() {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(wrong("a column `text`", format!("{names:?}")));
    }
    for field in schema.fields() {
        let found = field.data_type();
        let is_right = match field.name().as_str() {
            "text" => is_string(found),
            "mesh_terms" => {
                is_string(found)
                    || matches!(found, DataType::List(_)) && can_cast_types(found, &list_type())
            }
            "id" | "title" | "year" => can_cast_types(found, &DataType::Utf8),
            _ => true,
        };
        if !is_right {
            let expected = format!("strings in the column `{}`", field.name());
            return Err(wrong(&expected, found.to_string()));
        }
    }
    Ok(())
}

fn is_string(found: &DataType) -> bool {
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

fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

/// A column as strings; what is not a string in the file becomes one.
fn strings(column: &ArrayRef) -> Result<StringArray> {
    Ok(cast(column, &DataType::Utf8)?.as_string().clone())
}

fn value(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column
        .filter(|column| column.is_valid(row))
        .map(|column| column.value(row))
}
