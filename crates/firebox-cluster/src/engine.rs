//! DataFusion with our limits: what runs a query and keeps its result.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionConfig, SessionContext};

use crate::ClusterError;
use crate::sink::{OutputFormat, PartTable, Parts, SinkSpec, part_path};
use crate::store::{Location, Stores};

/// Rows of a batch: few, since each may be a whole document.
const BATCH_ROWS: usize = 512;

/// Sorts of one task that may run at once, with room to spare: a join has two.
const SORTS_AT_ONCE: usize = 16;

/// DataFusion's own reservation of a sort.
const MAX_MERGE_BYTES: usize = 10 << 20;

/// How an engine runs.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Tasks that a step is cut into: on one machine the threads that it uses, on a cluster a small
    /// multiple of all executors' cores.
    pub n_tasks: usize,
    /// Memory for sorts, joins and groups of one process, in bytes; what does not fit is spilled to
    /// disk. Batches on their way come on top: a few MiB a task.
    pub memory_limit_bytes: usize,
    /// Where it is spilled to; the system's folder for temporary files if absent.
    pub spill_folder: Option<PathBuf>,
    /// Disk for what is spilled, in bytes; beyond it a query fails.
    pub spill_limit_bytes: u64,
    /// Rounds of [label propagation](crate#deduplication) before giving up.
    pub max_rounds: u32,
    /// The stores that this process may use.
    pub stores: Stores,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            n_tasks: 4,
            memory_limit_bytes: 1 << 30,
            spill_folder: None,
            spill_limit_bytes: 100 << 30,
            max_rounds: 64,
            stores: Stores::local(),
        }
    }
}

impl EngineConfig {
    pub(crate) fn validate(&self) -> std::result::Result<(), ClusterError> {
        let settings = [
            ("n_tasks", self.n_tasks as u64),
            ("memory_limit_bytes", self.memory_limit_bytes as u64),
            ("max_rounds", u64::from(self.max_rounds)),
        ];
        for (name, value) in settings {
            if value == 0 {
                return Err(ClusterError::BadSetting {
                    name,
                    expected: "of at least 1",
                    found: "0".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Memory, disk and stores as the engine takes them.
    pub(crate) fn runtime(&self) -> Result<Arc<RuntimeEnv>> {
        let pool = Arc::new(FairSpillPool::new(self.memory_limit_bytes));
        let mut builder = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_max_temp_directory_size(self.spill_limit_bytes);
        if let Some(folder) = &self.spill_folder {
            builder = builder.with_temp_file_path(folder);
        }
        let runtime = builder.build_arc()?;
        self.stores.register(&runtime);
        Ok(runtime)
    }

    /// Settings of the planner. Joins sort and merge: hash joins cannot spill. Strings are not views: those
    /// of one batch would count against the memory of every task that has a part of it.
    pub(crate) fn adjust(&self, config: SessionConfig) -> SessionConfig {
        // Every sort of every task sets this much aside for merging what it spilled.
        let merge_bytes = self.memory_limit_bytes / (SORTS_AT_ONCE * self.n_tasks);
        config
            .with_target_partitions(self.n_tasks)
            .with_batch_size(BATCH_ROWS)
            .with_sort_spill_reservation_bytes(merge_bytes.min(MAX_MERGE_BYTES))
            .set_bool("datafusion.optimizer.prefer_hash_join", false)
            .set_bool(
                "datafusion.execution.parquet.schema_force_view_types",
                false,
            )
    }
}

/// Runs a recipe's queries: in this process, or on a cluster.
#[derive(Clone)]
pub struct Engine {
    context: SessionContext,
    config: EngineConfig,
}

impl Engine {
    /// DataFusion in this process.
    ///
    /// # Errors
    /// [`ClusterError::BadSetting`], or [`ClusterError::Engine`] if the spill folder cannot be used.
    pub fn local(config: EngineConfig) -> std::result::Result<Self, ClusterError> {
        config.validate()?;
        let runtime = config
            .runtime()
            .map_err(ClusterError::engine("start DataFusion"))?;
        let session = config.adjust(SessionConfig::new());
        Ok(Self::with_context(
            SessionContext::new_with_config_rt(session, runtime),
            config,
        ))
    }

    pub(crate) fn with_context(context: SessionContext, config: EngineConfig) -> Self {
        Self { context, config }
    }

    pub(crate) fn context(&self) -> &SessionContext {
        &self.context
    }

    pub(crate) fn config(&self) -> &EngineConfig {
        &self.config
    }

    pub(crate) fn runtime(&self) -> Arc<RuntimeEnv> {
        self.context.runtime_env()
    }

    /// Writes what a query gives, a file a task, and gives the files as a table.
    pub(crate) async fn checkpoint(
        &self,
        step: &'static str,
        frame: DataFrame,
        folder: &Location,
    ) -> std::result::Result<DataFrame, ClusterError> {
        let results = self.insert(step, frame, folder, Parts::PerTask).await?;
        let files: Vec<String> = results
            .iter()
            .map(|&(_, token)| folder.join(&part_path(token)).to_string())
            .collect();
        self.context
            .read_parquet(files, ParquetReadOptions::default())
            .await
            .map_err(ClusterError::engine(step))
    }

    /// Writes documents and says how many there were.
    pub(crate) async fn write(
        &self,
        step: &'static str,
        documents: DataFrame,
        folder: &Location,
        format: OutputFormat,
    ) -> std::result::Result<u64, ClusterError> {
        let parts = Parts::PerInput(format);
        let results = self.insert(step, documents, folder, parts).await?;
        Ok(results.iter().map(|(n_rows, _)| n_rows).sum())
    }

    /// Writes what a query gives; for each partition, how many rows that was, and its token.
    async fn insert(
        &self,
        step: &'static str,
        frame: DataFrame,
        folder: &Location,
        parts: Parts,
    ) -> std::result::Result<Vec<(u64, u64)>, ClusterError> {
        let (state, plan) = frame.into_parts();
        let target = PartTable {
            schema: Arc::clone(plan.schema().inner()),
            spec: SinkSpec {
                folder: folder.to_string(),
                parts,
            },
        };
        let source = provider_as_source(Arc::new(target));
        let plan = LogicalPlanBuilder::insert_into(plan, "parts", source, InsertOp::Append)
            .and_then(LogicalPlanBuilder::build)
            .map_err(ClusterError::engine(step))?;
        let results = DataFrame::new(state, plan)
            .collect()
            .await
            .and_then(|batches| numbers(&batches))
            .map_err(ClusterError::engine(step))?;
        let (pairs, _) = results.as_chunks::<2>();
        Ok(pairs
            .iter()
            .map(|&[n_rows, token]| (n_rows, token))
            .collect())
    }

    /// The one number that a query gives.
    pub(crate) async fn count(
        &self,
        step: &'static str,
        frame: Result<DataFrame>,
    ) -> std::result::Result<u64, ClusterError> {
        let frame = frame.map_err(ClusterError::engine(step))?;
        let counts = frame
            .collect()
            .await
            .and_then(|batches| numbers(&batches))
            .map_err(ClusterError::engine(step))?;
        Ok(counts.iter().sum())
    }
}

/// The numbers in the first column.
fn numbers(batches: &[RecordBatch]) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for batch in batches {
        let column = cast(batch.column(0), &DataType::UInt64)?;
        numbers.extend(column.as_primitive::<UInt64Type>().iter().flatten());
    }
    Ok(numbers)
}
