//! Documents as output files, one for each input file.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{AsArray, BooleanArray, UInt64Array};
use datafusion::arrow::compute::{cast, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::parquet::arrow::AsyncArrowWriter;
use futures_util::StreamExt;
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt;

use super::lines::LineEncoder;
use super::{ROW_GROUP_BYTES, UPLOAD_BYTES, parquet_properties};
use crate::columns::{DOC_ID, DocumentRows, IS_DROPPED, TEXT, column};
use crate::read::external;
use crate::sink::OutputFormat;
use crate::store::Location;

/// Writes documents that come sorted by number and says how many were written.
///
/// A row with [`IS_DROPPED`] stands before the document of the same number and removes it: the numbers
/// of dropped documents, sorted in among the documents, are an anti-join that needs no memory.
pub(crate) async fn write_documents(
    mut rows: SendableRecordBatchStream,
    folder: &str,
    format: OutputFormat,
    runtime: &Arc<RuntimeEnv>,
) -> Result<u64> {
    let folder = Location::parse(folder).map_err(external)?;
    let mut current: Option<(u32, PartWriter)> = None;
    let mut dropped = None;
    let mut n_written = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let kept = kept_rows(&batch, &mut dropped)?;
        let documents = DocumentRows::new(&batch)?;
        for run in kept.chunk_by(|&a, &b| documents.file(a) == documents.file(b)) {
            let file = documents.file(run[0]);
            let mut writer = match current.take() {
                Some((index, writer)) if index == file => writer,
                finished => {
                    if let Some((_, writer)) = finished {
                        writer.finish().await?;
                    }
                    PartWriter::create(&folder, file, format, runtime)?
                }
            };
            writer.write(&batch, &documents, run).await?;
            n_written += run.len() as u64;
            current = Some((file, writer));
        }
    }
    if let Some((_, writer)) = current {
        writer.finish().await?;
    }
    Ok(n_written)
}

/// The rows that stay. `dropped` is the last number that was dropped: its document may be in the next
/// batch.
fn kept_rows(batch: &RecordBatch, dropped: &mut Option<u64>) -> Result<Vec<usize>> {
    let doc_ids: &UInt64Array = column(batch, DOC_ID, |array| {
        array.as_primitive_opt::<UInt64Type>()
    })?;
    let is_dropped: &BooleanArray = column(batch, IS_DROPPED, |array| array.as_boolean_opt())?;
    let mut kept = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let doc_id = doc_ids.value(row);
        if is_dropped.value(row) {
            *dropped = Some(doc_id);
        } else if *dropped != Some(doc_id) {
            kept.push(row);
        }
    }
    Ok(kept)
}

/// The columns of a Parquet output.
fn output_schema() -> SchemaRef {
    let mesh_term = Field::new_list_field(DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("title", DataType::Utf8, true),
        Field::new(TEXT, DataType::Utf8, false),
        Field::new("year", DataType::UInt16, true),
        Field::new("mesh_terms", DataType::List(Arc::new(mesh_term)), true),
    ]))
}

/// Some rows of a batch, as a Parquet output has them.
fn output_columns(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
    let rows: UInt64Array = rows.iter().map(|&row| row as u64).collect();
    let schema = output_schema();
    let mut columns = Vec::new();
    for field in schema.fields() {
        let whole = column(batch, field.name(), Some)?;
        let taken = take(whole, &rows, None)?;
        columns.push(cast(&taken, field.data_type())?);
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// An output file on its way.
enum PartWriter {
    Lines {
        upload: Box<BufWriter>,
        encoder: Box<LineEncoder>,
    },
    Parquet(Box<AsyncArrowWriter<BufWriter>>),
}

impl PartWriter {
    fn create(
        folder: &Location,
        file: u32,
        format: OutputFormat,
        runtime: &Arc<RuntimeEnv>,
    ) -> Result<Self> {
        let location = folder.join(&format!("part-{file:05}.{}", format.extension()));
        let store = location.store(runtime).map_err(external)?;
        let upload = BufWriter::with_capacity(store, location.path, UPLOAD_BYTES);
        Ok(match format {
            OutputFormat::Parquet => Self::Parquet(Box::new(AsyncArrowWriter::try_new(
                upload,
                output_schema(),
                Some(parquet_properties()),
            )?)),
            _ => Self::Lines {
                upload: Box::new(upload),
                encoder: Box::new(LineEncoder::new(format)?),
            },
        })
    }

    async fn write(
        &mut self,
        batch: &RecordBatch,
        documents: &DocumentRows<'_>,
        rows: &[usize],
    ) -> Result<()> {
        match self {
            Self::Lines { upload, encoder } => {
                for &row in rows {
                    encoder.push(&documents.document(row))?;
                    if let Some(encoded) = encoder.take_if_large() {
                        upload.put(Bytes::from(encoded)).await?;
                    }
                }
            }
            Self::Parquet(writer) => {
                writer.write(&output_columns(batch, rows)?).await?;
                if writer.in_progress_size() > ROW_GROUP_BYTES {
                    writer.flush().await?;
                }
            }
        }
        Ok(())
    }

    /// The file is there after this, and not before.
    async fn finish(self) -> Result<()> {
        match self {
            Self::Lines {
                mut upload,
                encoder,
            } => {
                upload.put(Bytes::from(encoder.finish()?)).await?;
                upload.shutdown().await?;
            }
            Self::Parquet(writer) => {
                writer.close().await?;
            }
        }
        Ok(())
    }
}
