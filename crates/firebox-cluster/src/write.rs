//! One task's rows as files in a store: whole or not there.

mod documents;
mod lines;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::parquet::arrow::AsyncArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use futures_util::StreamExt;
use object_store::buffered::BufWriter;

use crate::read::external;
use crate::store::Location;

pub(crate) use documents::write_documents;

/// Bytes of a file that are sent at once; a store needs at least 5 MiB.
const UPLOAD_BYTES: usize = 8 << 20;

/// Rows of a row group. Texts are large: this bounds what a task holds of them.
const ROW_GROUP_ROWS: usize = 1 << 14;

/// Row groups are closed once they hold this many bytes in memory.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Parquet as it is written everywhere here.
fn parquet_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build()
}

/// Writes all rows to `FOLDER/NAME` and says how many there were. No rows make a file too:
/// it holds the columns.
pub(crate) async fn write_rows(
    mut rows: SendableRecordBatchStream,
    folder: &str,
    name: &str,
    runtime: &Arc<RuntimeEnv>,
) -> Result<u64> {
    let location = Location::parse(folder).map_err(external)?.join(name);
    let store = location.store(runtime).map_err(external)?;
    let upload = BufWriter::with_capacity(store, location.path, UPLOAD_BYTES);
    let mut writer = AsyncArrowWriter::try_new(upload, rows.schema(), Some(parquet_properties()))?;
    let mut n_rows = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        n_rows += batch.num_rows() as u64;
        writer.write(&batch).await?;
        if writer.in_progress_size() > ROW_GROUP_BYTES {
            writer.flush().await?;
        }
    }
    writer.close().await?;
    Ok(n_rows)
}
