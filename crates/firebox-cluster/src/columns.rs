//! Documents as columns: the schema that travels through a plan, and both ways across it.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder, ListArray,
    ListBuilder, StringBuilder, UInt16Array, UInt16Builder, UInt32Array, UInt64Array,
    UInt64Builder,
};
use datafusion::arrow::datatypes::{
    DataType, Field, Schema, SchemaRef, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use firebox_data::Document;

/// Number of the document: its file's index and its place in the file, see [`doc_id`].
pub(crate) const DOC_ID: &str = "doc_id";
/// Index of the input file.
pub(crate) const FILE: &str = "file";
/// The document's text.
pub(crate) const TEXT: &str = "text";
/// The JSON object that the document was read from, if it goes along.
pub(crate) const SOURCE: &str = "source";
/// Why a record could not be read; null in one that could.
pub(crate) const BROKEN: &str = "broken";

/// True in a row that removes the document of its number, false in a document.
pub(crate) const IS_DROPPED: &str = "is_dropped";

/// Bits of a document's number that count places in its file: 2^40 lines.
pub(crate) const PLACE_BITS: u32 = 40;

/// Input files, at most.
pub(crate) const MAX_FILES: usize = 1 << (64 - PLACE_BITS);

/// A document's number: files in the order of the input, and within a file its places, so that
/// numbers are in input order whatever task reads what.
///
/// Places are [`Document::number`]: lines or records, from 1.
pub(crate) fn doc_id(file: u32, place: u64) -> u64 {
    debug_assert!(place < 1 << PLACE_BITS, "a file of 2^40 lines");
    (u64::from(file) << PLACE_BITS) | place
}

/// The place in its file that a document's number says.
pub(crate) fn place_of(doc_id: u64) -> u64 {
    doc_id & ((1 << PLACE_BITS) - 1)
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mesh_term = Field::new_list_field(DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new(DOC_ID, DataType::UInt64, false),
        Field::new(FILE, DataType::UInt32, false),
        Field::new("id", DataType::LargeUtf8, true),
        Field::new("title", DataType::LargeUtf8, true),
        Field::new(TEXT, DataType::LargeUtf8, true),
        Field::new("year", DataType::UInt16, true),
        Field::new("mesh_terms", DataType::List(Arc::new(mesh_term)), true),
        Field::new(SOURCE, DataType::LargeUtf8, true),
        Field::new(BROKEN, DataType::LargeUtf8, true),
    ]))
});

/// The columns of a scan.
pub(crate) fn document_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Collects documents of one file into batches.
pub(crate) struct ColumnBuilder {
    file: u32,
    n_bytes: usize,
    doc_ids: UInt64Builder,
    ids: LargeStringBuilder,
    titles: LargeStringBuilder,
    texts: LargeStringBuilder,
    years: UInt16Builder,
    mesh_terms: ListBuilder<StringBuilder>,
    sources: LargeStringBuilder,
    broken: LargeStringBuilder,
}

impl ColumnBuilder {
    pub(crate) fn new(file: u32) -> Self {
        Self {
            file,
            n_bytes: 0,
            doc_ids: UInt64Builder::new(),
            ids: LargeStringBuilder::new(),
            titles: LargeStringBuilder::new(),
            texts: LargeStringBuilder::new(),
            years: UInt16Builder::new(),
            mesh_terms: ListBuilder::new(StringBuilder::new()),
            sources: LargeStringBuilder::new(),
            broken: LargeStringBuilder::new(),
        }
    }

    /// Documents since the last batch.
    pub(crate) fn n_rows(&self) -> usize {
        self.doc_ids.len()
    }

    /// Bytes of text since the last batch.
    pub(crate) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    pub(crate) fn push(&mut self, document: &Document<'_>) {
        self.n_bytes += document.text.len() + document.source.map_or(0, str::len);
        self.doc_ids
            .append_value(doc_id(self.file, document.number));
        self.ids.append_option(document.id.as_deref());
        self.titles.append_option(document.title.as_deref());
        self.texts.append_value(&document.text);
        self.years.append_option(document.year);
        for term in &document.mesh_terms {
            self.mesh_terms.values().append_value(term);
        }
        self.mesh_terms.append(true);
        self.sources.append_option(document.source);
        self.broken.append_null();
    }

    /// A record that could not be read, and why.
    pub(crate) fn push_broken(&mut self, place: u64, reason: &str) {
        self.n_bytes += reason.len();
        self.push_empty(place);
        self.broken.append_value(reason);
    }

    /// A record that was whole but had nothing to read: neither a text nor a reason.
    pub(crate) fn push_skipped(&mut self, place: u64) {
        self.push_empty(place);
        self.broken.append_null();
    }

    fn push_empty(&mut self, place: u64) {
        self.doc_ids.append_value(doc_id(self.file, place));
        self.ids.append_null();
        self.titles.append_null();
        self.texts.append_null();
        self.years.append_null();
        self.mesh_terms.append(false);
        self.sources.append_null();
    }

    /// The batch of what was pushed since the last one.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch> {
        let n_rows = self.n_rows();
        self.n_bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.doc_ids.finish()),
            Arc::new(UInt32Array::from_value(self.file, n_rows)),
            Arc::new(self.ids.finish()),
            Arc::new(self.titles.finish()),
            Arc::new(self.texts.finish()),
            Arc::new(self.years.finish()),
            Arc::new(self.mesh_terms.finish()),
            Arc::new(self.sources.finish()),
            Arc::new(self.broken.finish()),
        ];
        Ok(RecordBatch::try_new(document_schema(), columns)?)
    }
}

/// Rows of a batch as documents again.
pub(crate) struct DocumentRows<'a> {
    doc_ids: &'a UInt64Array,
    files: &'a UInt32Array,
    ids: &'a LargeStringArray,
    titles: &'a LargeStringArray,
    texts: &'a LargeStringArray,
    years: &'a UInt16Array,
    mesh_terms: &'a ListArray,
    sources: &'a LargeStringArray,
}

impl<'a> DocumentRows<'a> {
    /// # Errors
    /// If a column is missing or has another type.
    pub(crate) fn new(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            doc_ids: column(batch, DOC_ID, |array| {
                array.as_primitive_opt::<UInt64Type>()
            })?,
            files: column(batch, FILE, |array| array.as_primitive_opt::<UInt32Type>())?,
            ids: column(batch, "id", |array| array.as_string_opt::<i64>())?,
            titles: column(batch, "title", |array| array.as_string_opt::<i64>())?,
            texts: column(batch, TEXT, |array| array.as_string_opt::<i64>())?,
            years: column(batch, "year", |array| {
                array.as_primitive_opt::<UInt16Type>()
            })?,
            mesh_terms: column(batch, "mesh_terms", |array| array.as_list_opt::<i32>())?,
            sources: column(batch, SOURCE, |array| array.as_string_opt::<i64>())?,
        })
    }

    /// Index of the file that a row comes from.
    pub(crate) fn file(&self, row: usize) -> u32 {
        self.files.value(row)
    }

    /// Whether a row is a document: neither broken nor skipped.
    pub(crate) fn has_text(&self, row: usize) -> bool {
        self.texts.is_valid(row)
    }

    /// One row. A null text is empty.
    pub(crate) fn document(&self, row: usize) -> Document<'a> {
        Document {
            number: place_of(self.doc_ids.value(row)),
            id: string(self.ids, row).map(Cow::Borrowed),
            title: string(self.titles, row).map(Cow::Borrowed),
            text: Cow::Borrowed(string(self.texts, row).unwrap_or_default()),
            year: self.years.is_valid(row).then(|| self.years.value(row)),
            mesh_terms: self.mesh_terms_of(row),
            source: string(self.sources, row),
        }
    }

    fn mesh_terms_of(&self, row: usize) -> Vec<Cow<'a, str>> {
        let list: &'a ListArray = self.mesh_terms;
        let Some(terms) = list.values().as_string_opt::<i32>() else {
            return Vec::new();
        };
        let offsets = list.value_offsets();
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        range.map(|i| Cow::Borrowed(terms.value(i))).collect()
    }
}

/// The value of a nullable column.
pub(crate) fn string(array: &LargeStringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

/// A column by name, as the type that it must have.
pub(crate) fn column<'a, T: ?Sized>(
    batch: &'a RecordBatch,
    name: &str,
    cast: impl FnOnce(&'a ArrayRef) -> Option<&'a T>,
) -> Result<&'a T> {
    let found = batch.column_by_name(name);
    found.and_then(cast).ok_or_else(|| {
        DataFusionError::Internal(format!(
            "expected a column `{name}` of the document schema, found {:?}",
            found.map(|array| array.data_type())
        ))
    })
}

#[cfg(test)]
mod tests;
