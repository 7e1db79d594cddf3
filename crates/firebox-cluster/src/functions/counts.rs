//! `firebox_merge_counts(counts)`: the sum of what the rules did, over all batches.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use firebox_data::filter::RuleCounts;

use crate::read::external;

/// The function's name, by which all nodes know it.
pub(crate) const MERGE_COUNTS: &str = "firebox_merge_counts";

/// The function.
pub(crate) fn merge_counts() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(MergeCounts {
        signature: Signature::any(1, Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MergeCounts {
    signature: Signature,
}

impl AggregateUDFImpl for MergeCounts {
    fn name(&self) -> &str {
        MERGE_COUNTS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Sum::default()))
    }
}

/// The sum so far.
#[derive(Debug, Default)]
pub(super) struct Sum {
    counts: Option<RuleCounts>,
}

impl Sum {
    fn add(&mut self, values: &[ArrayRef]) -> Result<()> {
        for column in values {
            let column = cast(column, &DataType::Utf8)?;
            let column: &StringArray = column.as_string();
            for text in column.iter().flatten() {
                let counts: RuleCounts = serde_json::from_str(text).map_err(external)?;
                match &mut self.counts {
                    Some(sum) => sum.merge(counts),
                    none => *none = Some(counts),
                }
            }
        }
        Ok(())
    }
}

impl Accumulator for Sum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let text = self.counts.as_ref().map(serde_json::to_string);
        Ok(ScalarValue::Utf8(text.transpose().map_err(external)?))
    }

    fn size(&self) -> usize {
        let samples = self.counts.iter().flat_map(|counts| &counts.rules);
        let n_samples: usize = samples.map(|rule| 1 + rule.samples.len()).sum();
        size_of::<Self>() + n_samples * SAMPLE_BYTES
    }
}

/// A sample has about so many bytes.
const SAMPLE_BYTES: usize = 512;
