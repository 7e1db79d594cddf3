//! The recipe as functions of the engine: `firebox_judge`, `firebox_merge_counts` and
//! `firebox_fingerprint`.
//!
//! A function carries its part of the recipe. On a cluster that part goes along with the plan, so that
//! executors need to know nothing beforehand.

mod counts;
mod fingerprint;
mod judge;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use firebox_data::DedupConfig;
use serde::{Deserialize, Serialize};

use fingerprint::Fingerprint;
use judge::Judge;

#[cfg(feature = "ballista")]
pub(crate) use counts::MERGE_COUNTS;
pub(crate) use counts::merge_counts;
pub(crate) use fingerprint::{BAND, EXACT_BAND, HASHES, HIGH, LOW, RANK};
pub(crate) use judge::{CHANGED_TEXT, COUNTS, JudgeSpec, LOSES_SOURCE, RULE};

/// What a function does, in a form that can be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum FunctionSpec {
    /// Runs the rules over documents.
    Judge(JudgeSpec),
    /// Hashes texts.
    Fingerprint(DedupConfig),
}

/// A function, ready to run.
#[derive(Debug)]
struct RecipeFunction {
    #[cfg(feature = "ballista")]
    spec: FunctionSpec,
    /// The spec as text: functions are equal where these are.
    key: String,
    signature: Signature,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Judge(Judge),
    Fingerprint(Box<Fingerprint>),
}

/// Makes a function.
///
/// # Errors
/// If the recipe is wrong. It was checked before, unless another version of this crate sent it.
pub(crate) fn from_spec(spec: FunctionSpec) -> Result<Arc<ScalarUDF>> {
    let work = match &spec {
        FunctionSpec::Judge(spec) => Work::Judge(Judge::new(spec)?),
        FunctionSpec::Fingerprint(dedup) => Work::Fingerprint(Fingerprint::new(dedup)?.into()),
    };
    // Counts stand once a batch: a judge is not a function of a row alone.
    let signature = match &work {
        Work::Judge(_) => Signature::any(judge::n_arguments(), Volatility::Volatile),
        Work::Fingerprint(_) => Signature::any(fingerprint::N_ARGUMENTS, Volatility::Immutable),
    };
    let key = serde_json::to_string(&spec).map_err(crate::read::external)?;
    Ok(Arc::new(ScalarUDF::new_from_impl(RecipeFunction {
        #[cfg(feature = "ballista")]
        spec,
        key,
        signature,
        work,
    })))
}

/// What a function of ours does; none for one of the engine's.
#[cfg(feature = "ballista")]
pub(crate) fn spec_of(function: &ScalarUDF) -> Option<&FunctionSpec> {
    let function: &dyn std::any::Any = function.inner().as_ref();
    function
        .downcast_ref::<RecipeFunction>()
        .map(|function| &function.spec)
}

impl ScalarUDFImpl for RecipeFunction {
    fn name(&self) -> &str {
        match self.work {
            Work::Judge(_) => "firebox_judge",
            Work::Fingerprint(_) => "firebox_fingerprint",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.work {
            Work::Judge(_) => judge::result_type(),
            Work::Fingerprint(_) => fingerprint::result_type(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let result = match &self.work {
            Work::Judge(judge) => judge.run(&columns)?,
            Work::Fingerprint(fingerprint) => fingerprint.run(&columns)?,
        };
        Ok(ColumnarValue::Array(result))
    }
}

impl PartialEq for RecipeFunction {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for RecipeFunction {}

impl Hash for RecipeFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

#[cfg(test)]
mod tests;
