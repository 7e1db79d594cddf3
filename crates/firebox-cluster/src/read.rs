//! One input file as batches of documents.

mod parquet;

use std::io;
use std::path::PathBuf;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use firebox_data::{Block, Blocks, Format, SourceOptions};
use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::columns::ColumnBuilder;
use crate::input::format_of;
use crate::store::Location;

/// Documents in a batch, at most.
const BATCH_ROWS: usize = 512;

/// A batch is closed once its texts have this many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// How files are read, as it goes along with a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadLimits {
    /// Largest record, in bytes after decompression.
    pub(crate) max_record_bytes: u64,
}

impl ReadLimits {
    fn options(self, format: Format) -> SourceOptions {
        SourceOptions {
            format: Some(format),
            max_record_bytes: self.max_record_bytes,
            ..SourceOptions::default()
        }
    }
}

/// Where a scan's batches go: the columns that are wanted, until nobody wants more.
#[derive(Clone)]
pub(crate) struct BatchSender {
    pub(crate) sender: Sender<Result<RecordBatch>>,
    pub(crate) projection: Option<Vec<usize>>,
}

impl BatchSender {
    /// False if nobody wants more.
    async fn send(&self, batch: &RecordBatch) -> Result<bool> {
        let batch = self.project(batch)?;
        Ok(self.sender.send(Ok(batch)).await.is_ok())
    }

    /// As [`send`](Self::send), on a thread that may block.
    fn blocking_send(&self, batch: &RecordBatch) -> Result<bool> {
        let batch = self.project(batch)?;
        Ok(self.sender.blocking_send(Ok(batch)).is_ok())
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        Ok(match &self.projection {
            Some(columns) => batch.project(columns)?,
            None => batch.clone(),
        })
    }
}

/// Reads a file and sends its batches, in the file's order.
pub(crate) async fn read_file(
    (index, url): (u32, &str),
    limits: ReadLimits,
    runtime: &RuntimeEnv,
    sender: BatchSender,
) -> Result<()> {
    let location = Location::parse(url).map_err(external)?;
    let store = location.store(runtime).map_err(external)?;
    let format = format_of(url).ok_or_else(|| {
        DataFusionError::Internal(format!("expected a known format, found `{url}`"))
    })?;
    if format == Format::Parquet {
        return parquet::read((index, url), limits, (store, location), &sender).await;
    }
    let stream = store.get(&location.path).await?.into_stream();
    let input = StreamReader::new(stream.map_err(io::Error::other));
    let input = SyncIoBridge::new(input);
    let options = limits.options(format);
    let name = PathBuf::from(url);
    let task = SpawnedTask::spawn_blocking(move || {
        let blocks = Blocks::from_reader(input, name, options).map_err(external)?;
        send_blocks(blocks, index, &sender)
    });
    task.join_unwind().await.map_err(external)?
}

/// Decompresses and parses; runs on a thread that may block.
fn send_blocks(blocks: Blocks, index: u32, sender: &BatchSender) -> Result<()> {
    let mut builder = ColumnBuilder::new(index);
    for block in blocks {
        if !send_block(&block.map_err(external)?, &mut builder, sender)? {
            return Ok(());
        }
    }
    if builder.n_rows() > 0 {
        sender.blocking_send(&builder.finish()?)?;
    }
    Ok(())
}

/// False if nobody wants more.
fn send_block(block: &Block, builder: &mut ColumnBuilder, sender: &BatchSender) -> Result<bool> {
    let mut documents = block.documents();
    for document in documents.by_ref() {
        match document {
            Ok(document) => builder.push(&document),
            Err(broken) => builder.push_broken(broken.place.number, &broken.to_string()),
        }
        if is_full(builder) && !sender.blocking_send(&builder.finish()?)? {
            return Ok(false);
        }
    }
    for _ in 0..documents.n_skipped() {
        builder.push_skipped(block.first_number());
    }
    Ok(true)
}

fn is_full(builder: &ColumnBuilder) -> bool {
    builder.n_rows() >= BATCH_ROWS || builder.n_bytes() >= BATCH_BYTES
}

/// An error of ours on its way through the engine.
pub(crate) fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
