//! Documents as the columns of a Parquet file.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringBuilder, UInt16Builder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::WriteError;
use super::atomic::AtomicFile;
use crate::Document;

/// Rows of a row group, at most: a group is held in memory while it is written.
const ROW_GROUP_ROWS: usize = 1 << 16;

/// Bytes of a row group, at most, about.
const ROW_GROUP_BYTES: usize = 64 << 20;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let terms = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("title", DataType::Utf8, true),
        Field::new("text", DataType::Utf8, false),
        Field::new("year", DataType::UInt16, true),
        Field::new("mesh_terms", terms, false),
    ]))
});

/// Some documents as columns.
#[derive(Default)]
pub(super) struct Table {
    id: StringBuilder,
    title: StringBuilder,
    text: StringBuilder,
    year: UInt16Builder,
    mesh_terms: ListBuilder<StringBuilder>,
    n_bytes: usize,
}

impl Table {
    pub(super) fn push(&mut self, document: &Document<'_>) {
        self.id.append_option(document.id.as_deref());
        self.title.append_option(document.title.as_deref());
        self.text.append_value(&document.text);
        self.year.append_option(document.year);
        for term in &document.mesh_terms {
            self.mesh_terms.values().append_value(term);
        }
        self.mesh_terms.append(true);
        let n_title_bytes = document.title.as_ref().map_or(0, |title| title.len());
        self.n_bytes += document.text.len() + n_title_bytes + 32 * (1 + document.mesh_terms.len());
    }

    /// About how many bytes it holds.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn finish(mut self) -> Result<RecordBatch, ParquetError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.id.finish()),
            Arc::new(self.title.finish()),
            Arc::new(self.text.finish()),
            Arc::new(self.year.finish()),
            Arc::new(self.mesh_terms.finish()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} bytes)", self.n_bytes)
    }
}

/// A Parquet file being written.
pub(super) struct ParquetFile {
    writer: ArrowWriter<AtomicFile>,
}

impl ParquetFile {
    pub(super) fn create(
        file: AtomicFile,
        path: &Path,
        zstd_level: i32,
    ) -> Result<Self, WriteError> {
        let level = ZstdLevel::try_new(zstd_level).unwrap_or_default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("firebox-data ", env!("CARGO_PKG_VERSION")).to_string())
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(file, Arc::clone(&SCHEMA), Some(properties))
            .map_err(|source| parquet_error(path, source))?;
        Ok(Self { writer })
    }

    pub(super) fn write(&mut self, table: Table, path: &Path) -> Result<(), WriteError> {
        let batch = table.finish();
        batch
            .and_then(|batch| self.writer.write(&batch))
            .map_err(|source| parquet_error(path, source))
    }

    pub(super) fn finish(self, path: &Path) -> Result<AtomicFile, WriteError> {
        self.writer
            .into_inner()
            .map_err(|source| parquet_error(path, source))
    }
}

fn parquet_error(path: &Path, source: ParquetError) -> WriteError {
    WriteError::Parquet {
        path: path.to_path_buf(),
        source: Box::new(source),
    }
}
