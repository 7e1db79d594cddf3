//! Reading documents: the table behind a recipe's input, and the plan that a task runs.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, StringArray, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::columns::{FILE, column, document_schema};
use crate::input::{InputFile, share_out};
use crate::read::{BatchSender, ReadLimits, read_file};

/// Batches that a file's reader may be ahead of the task that uses them.
const N_BATCHES_AHEAD: usize = 2;

/// The documents of a list of files, as a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DocumentTable {
    pub(crate) files: Vec<InputFile>,
    pub(crate) n_tasks: usize,
    pub(crate) limits: ReadLimits,
}

#[async_trait]
impl TableProvider for DocumentTable {
    fn schema(&self) -> SchemaRef {
        document_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let shares = share_out(&self.files, self.n_tasks);
        let shares: Vec<Vec<RecordBatch>> = shares
            .iter()
            .map(|share| Ok(vec![file_rows(share)?]))
            .collect::<Result<_>>()?;
        let spec = ScanSpec {
            limits: self.limits,
            projection: projection.cloned(),
        };
        let files = MemorySourceConfig::try_new_exec(&shares, file_schema(), None)?;
        Ok(Arc::new(DocumentScan::new(files, spec)?))
    }
}

/// What a scan does, in a form that can be sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScanSpec {
    limits: ReadLimits,
    projection: Option<Vec<usize>>,
}

/// Reads the files that its input names, one after the other.
///
/// The names are rows of an input, and not part of the plan, because a cluster knows how to give a task
/// its share of rows.
#[derive(Debug)]
pub(crate) struct DocumentScan {
    files: Arc<dyn ExecutionPlan>,
    spec: ScanSpec,
    properties: Arc<PlanProperties>,
}

/// The columns of a scan's input.
fn file_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(FILE, DataType::UInt32, false),
        Field::new("url", DataType::Utf8, false),
    ]))
}

fn file_rows(files: &[InputFile]) -> Result<RecordBatch> {
    let indices: UInt32Array = files.iter().map(|file| file.index).collect();
    let urls = StringArray::from_iter_values(files.iter().map(|file| &file.url));
    let columns: Vec<ArrayRef> = vec![Arc::new(indices), Arc::new(urls)];
    Ok(RecordBatch::try_new(file_schema(), columns)?)
}

/// The files that rows name: indices and URLs.
fn files_of(batch: &RecordBatch) -> Result<Vec<(u32, String)>> {
    let indices = column(batch, FILE, |array| array.as_primitive_opt::<UInt32Type>())?;
    let urls = column(batch, "url", |array| array.as_string_opt::<i32>())?;
    let urls = urls.iter().flatten().map(str::to_owned);
    Ok(indices.values().iter().copied().zip(urls).collect())
}

impl DocumentScan {
    pub(crate) fn new(files: Arc<dyn ExecutionPlan>, spec: ScanSpec) -> Result<Self> {
        let schema = match &spec.projection {
            Some(columns) => Arc::new(document_schema().project(columns)?),
            None => document_schema(),
        };
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(files.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Self {
            files,
            spec,
            properties,
        })
    }

    #[cfg(feature = "ballista")]
    pub(crate) fn spec(&self) -> &ScanSpec {
        &self.spec
    }

    fn with_files(
        &self,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = children.pop().unwrap_or_else(|| Arc::clone(&self.files));
        Ok(Arc::new(Self::new(files, self.spec.clone())?))
    }
}

impl DisplayAs for DocumentScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentScan")
    }
}

impl ExecutionPlan for DocumentScan {
    fn name(&self) -> &'static str {
        "DocumentScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.files]
    }

    /// Files were shared out by size.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.with_files(children)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.with_files(children)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let mut files = self.files.execute(partition, Arc::clone(&context))?;
        let mut stream = RecordBatchReceiverStream::builder(self.schema(), N_BATCHES_AHEAD);
        let sender = BatchSender {
            sender: stream.tx(),
            projection: self.spec.projection.clone(),
        };
        let limits = self.spec.limits;
        stream.spawn(async move {
            let runtime = context.runtime_env();
            while let Some(rows) = files.next().await {
                for (index, url) in files_of(&rows?)? {
                    read_file((index, &url), limits, &runtime, sender.clone()).await?;
                }
            }
            Ok(())
        });
        Ok(stream.build())
    }
}
