//! Writing rows as files: the table behind an output, and the plan that a task runs.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::UInt64Array;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, Partitioning,
    PhysicalExpr, PhysicalSortRequirement,
};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures_util::stream;
use serde::{Deserialize, Serialize};

use crate::columns::{DOC_ID, FILE, IS_DROPPED};
use crate::write::{write_documents, write_rows};

/// What is written, and how it is cut into files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Parts {
    /// Rows as they are, a Parquet file a partition, under names that no other attempt at the task has.
    /// For work on the way: those count that the results name.
    PerTask,
    /// Documents, an output file for each input file, in the input's order: `part-INDEX.EXTENSION`.
    PerInput(OutputFormat),
}

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// JSON Lines, not compressed.
    Jsonl,
    /// JSON Lines in gzip.
    JsonlGz,
    /// JSON Lines in Zstandard.
    JsonlZst,
    /// Parquet with Zstandard inside.
    Parquet,
}

impl OutputFormat {
    /// What its files' names end in.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::JsonlGz => "jsonl.gz",
            Self::JsonlZst => "jsonl.zst",
            Self::Parquet => "parquet",
        }
    }
}

/// A folder that rows are inserted into, as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartTable {
    pub(crate) spec: SinkSpec,
    pub(crate) schema: SchemaRef,
}

/// What a sink does, in a form that can be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinkSpec {
    /// URL of the folder.
    pub(crate) folder: String,
    pub(crate) parts: Parts,
}

#[async_trait]
impl TableProvider for PartTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::NotImplemented(
            "expected rows to be inserted into an output, found it being read".into(),
        ))
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(PartSink::new(input, self.spec.clone())))
    }
}

/// Writes what each partition of its input has, and gives two numbers a partition: how many rows there
/// were, and the token of their file ([`Parts::PerTask`], else zero).
///
/// An insert may only give numbers. On a cluster a task may run twice, and only the results of one
/// attempt arrive: its token says which file is good.
#[derive(Debug)]
pub(crate) struct PartSink {
    input: Arc<dyn ExecutionPlan>,
    spec: SinkSpec,
    properties: Arc<PlanProperties>,
}

impl PartSink {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, spec: SinkSpec) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(count_schema()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self {
            input,
            spec,
            properties,
        }
    }

    #[cfg(feature = "ballista")]
    pub(crate) fn spec(&self) -> &SinkSpec {
        &self.spec
    }

    fn input_column(&self, name: &str) -> Option<Arc<dyn PhysicalExpr>> {
        col(name, &self.input.schema()).ok()
    }
}

/// What stands for one attempt at one partition. A cluster's task ids say the attempt.
fn token_of(task_id: Option<&str>, partition: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    (task_id, partition).hash(&mut hasher);
    hasher.finish()
}

/// The file that a token names.
pub(crate) fn part_path(token: u64) -> String {
    format!("part-{token:016x}.parquet")
}

/// The column that an insert gives.
fn count_schema() -> SchemaRef {
    let count = Field::new("count", DataType::UInt64, false);
    Arc::new(Schema::new(vec![count]))
}

impl DisplayAs for PartSink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartSink: {}, {:?}", self.spec.folder, self.spec.parts)
    }
}

impl ExecutionPlan for PartSink {
    fn name(&self) -> &'static str {
        "PartSink"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.input_distribution_requirements().into_per_child()
    }

    /// One output file an input file: its documents must meet in one task ..
    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let distribution = match (&self.spec.parts, self.input_column(FILE)) {
            (Parts::PerInput(_), Some(file)) => Distribution::KeyPartitioned(vec![file]),
            _ => Distribution::UnspecifiedDistribution,
        };
        InputDistributionRequirements::new(vec![distribution])
    }

    /// .. and in order, each after the row that removes it.
    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let columns = (self.input_column(DOC_ID), self.input_column(IS_DROPPED));
        let requirement = match (&self.spec.parts, columns) {
            (Parts::PerInput(_), (Some(doc_id), Some(is_dropped))) => LexRequirement::new([
                PhysicalSortRequirement::new(doc_id, Some(SortOptions::new(false, false))),
                PhysicalSortRequirement::new(is_dropped, Some(SortOptions::new(true, false))),
            ]),
            _ => None,
        };
        vec![requirement.map(OrderingRequirements::from)]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self::new(input, self.spec.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self::new(input, self.spec.clone())))
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
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let spec = self.spec.clone();
        let schema = count_schema();
        let counted = async move {
            let runtime = context.runtime_env();
            let (n_rows, token) = match spec.parts {
                Parts::PerTask => {
                    let token = token_of(context.task_id().as_deref(), partition);
                    let path = part_path(token);
                    (
                        write_rows(rows, &spec.folder, &path, &runtime).await?,
                        token,
                    )
                }
                Parts::PerInput(format) => (
                    write_documents(rows, &spec.folder, format, &runtime).await?,
                    0,
                ),
            };
            let count = Arc::new(UInt64Array::from(vec![n_rows, token]));
            Ok(RecordBatch::try_new(count_schema(), vec![count])?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            stream::once(counted),
        )))
    }
}
