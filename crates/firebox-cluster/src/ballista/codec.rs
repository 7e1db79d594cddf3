//! Our tables, plans and functions as bytes between the nodes.

use std::sync::Arc;

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, Extension, LogicalPlan, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::functions::{self, FunctionSpec};
use crate::scan::{DocumentScan, DocumentTable, ScanSpec};
use crate::sink::{PartSink, PartTable, SinkSpec};

/// What our bytes begin with; those of Ballista are protocol buffers, which do not.
const MAGIC: &[u8] = b"\xfffirebox-cluster 1\n";

/// A table of ours.
#[derive(Serialize, Deserialize)]
enum Table {
    Documents(DocumentTable),
    Parts(SinkSpec),
}

/// A plan of ours.
#[derive(Serialize, Deserialize)]
enum Plan {
    Scan(ScanSpec),
    Sink(SinkSpec),
}

/// Tables and functions, from the client to the scheduler.
#[derive(Debug, Default)]
pub(super) struct LogicalCodec {
    ballista: BallistaLogicalExtensionCodec,
}

/// Plans and functions, from the scheduler to the executors.
#[derive(Debug, Default)]
pub(super) struct PhysicalCodec {
    ballista: BallistaPhysicalExtensionCodec,
}

impl LogicalExtensionCodec for LogicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[LogicalPlan],
        context: &TaskContext,
    ) -> Result<Extension> {
        self.ballista.try_decode(bytes, inputs, context)
    }

    fn try_encode(&self, node: &Extension, bytes: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode(node, bytes)
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        name: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        Ok(match read(bytes)? {
            Some(Table::Documents(table)) => Arc::new(table),
            Some(Table::Parts(spec)) => Arc::new(PartTable { spec, schema }),
            None => {
                return self
                    .ballista
                    .try_decode_table_provider(bytes, name, schema, context);
            }
        })
    }

    fn try_encode_table_provider(
        &self,
        name: &TableReference,
        table: Arc<dyn TableProvider>,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        if let Some(documents) = table.downcast_ref::<DocumentTable>() {
            return write(&Table::Documents(documents.clone()), bytes);
        }
        if let Some(parts) = table.downcast_ref::<PartTable>() {
            return write(&Table::Parts(parts.spec.clone()), bytes);
        }
        self.ballista.try_encode_table_provider(name, table, bytes)
    }

    fn try_decode_file_format(
        &self,
        bytes: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.ballista.try_decode_file_format(bytes, context)
    }

    fn try_encode_file_format(
        &self,
        bytes: &mut Vec<u8>,
        format: Arc<dyn FileFormatFactory>,
    ) -> Result<()> {
        self.ballista.try_encode_file_format(bytes, format)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        decode_function(name, bytes)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        encode_function(function, bytes)
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        decode_aggregate(name)
    }
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match read(bytes)? {
            Some(Plan::Scan(spec)) => Arc::new(DocumentScan::new(one_of(inputs)?, spec)?),
            Some(Plan::Sink(spec)) => Arc::new(PartSink::new(one_of(inputs)?, spec)),
            None => return self.ballista.try_decode(bytes, inputs, context, converter),
        })
    }

    fn try_encode(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(scan) = plan.downcast_ref::<DocumentScan>() {
            return write(&Plan::Scan(scan.spec().clone()), bytes);
        }
        if let Some(sink) = plan.downcast_ref::<PartSink>() {
            return write(&Plan::Sink(sink.spec().clone()), bytes);
        }
        self.ballista.try_encode(plan, bytes, converter)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        decode_function(name, bytes)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        encode_function(function, bytes)
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        decode_aggregate(name)
    }
}

fn one_of(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
    match inputs {
        [input] => Ok(Arc::clone(input)),
        _ => Err(DataFusionError::Internal(format!(
            "expected a plan with one input, found {}",
            inputs.len()
        ))),
    }
}

fn encode_function(function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
    // Functions of DataFusion are known by their names on every node: no bytes.
    match functions::spec_of(function) {
        Some(spec) => write(spec, bytes),
        None => Ok(()),
    }
}

fn decode_function(name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
    match read::<FunctionSpec>(bytes)? {
        Some(spec) => functions::from_spec(spec),
        None => Err(DataFusionError::NotImplemented(format!(
            "expected a function of DataFusion or of firebox, found `{name}`"
        ))),
    }
}

/// The one aggregate of ours has nothing that must be sent.
fn decode_aggregate(name: &str) -> Result<Arc<AggregateUDF>> {
    if name == functions::MERGE_COUNTS {
        return Ok(functions::merge_counts());
    }
    Err(DataFusionError::NotImplemented(format!(
        "expected an aggregate of DataFusion or of firebox, found `{name}`"
    )))
}

fn write(what: &impl Serialize, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.extend_from_slice(MAGIC);
    serde_json::to_writer(bytes, what).map_err(|error| DataFusionError::External(error.into()))
}

/// What our bytes say; none if they are not ours.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>> {
    let Some(bytes) = bytes.strip_prefix(MAGIC) else {
        return Ok(None);
    };
    serde_json::from_slice(bytes)
        .map(Some)
        .map_err(|error| DataFusionError::External(error.into()))
}
