//! What a run did, in numbers.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, col};
use firebox_data::BrokenLimit;
use firebox_data::filter::RuleCounts;
use serde::Serialize;

use crate::ClusterError;
use crate::columns::{BROKEN, DOC_ID, TEXT, column};
use crate::functions::{self, COUNTS};

/// What a run did, in numbers: equal to those of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// Records read, broken ones included.
    pub n_records: u64,
    /// Records that were whole but had nothing to read: MEDLINE citations without abstract.
    pub n_skipped: u64,
    /// Records that could not be read, and were left out.
    pub n_broken: u64,
    /// The first of them, each with its place and what is wrong.
    pub broken: Vec<String>,
    /// What the rules did.
    pub rules: RuleCounts,
    /// Documents that the rules kept and that went because an equal text stays.
    pub n_exact: u64,
    /// Documents that the rules kept and that went because a similar text stays.
    pub n_near: u64,
    /// Documents written.
    pub n_written: u64,
}

/// Counts records by their verdict; `zero` is for an input without records.
pub(crate) async fn count_records(
    judged: DataFrame,
    zero: RuleCounts,
    limit: &BrokenLimit,
) -> Result<RunReport> {
    let mut report = RunReport {
        n_records: 0,
        n_skipped: 0,
        n_broken: 0,
        broken: Vec::new(),
        rules: zero,
        n_exact: 0,
        n_near: 0,
        n_written: 0,
    };
    let counts = judged.clone().aggregate(
        vec![],
        vec![
            count(lit(1)).alias("n"),
            count(col(TEXT)).alias("n_texts"),
            count(col(BROKEN)).alias("n_broken"),
            functions::merge_counts()
                .call(vec![col(COUNTS)])
                .alias("rules"),
        ],
    )?;
    for batch in counts.collect().await? {
        let number = |name| column(&batch, name, |array| array.as_primitive_opt::<Int64Type>());
        let [n, n_texts, n_broken] = [number("n")?, number("n_texts")?, number("n_broken")?]
            .map(|counts| counts.value(0).unsigned_abs());
        report.n_records = n_texts + n_broken;
        report.n_skipped = n - n_texts - n_broken;
        report.n_broken = n_broken;
        let rules = column(&batch, "rules", |array| array.as_string_opt::<i32>())?;
        if rules.is_valid(0) {
            report.rules = serde_json::from_str(rules.value(0)).map_err(crate::read::external)?;
        }
    }
    if report.n_broken > 0 {
        report.broken = first_broken(judged, limit.n_samples.max(1)).await?;
    }
    Ok(report)
}

/// The first records that are broken, in the order of the input.
async fn first_broken(judged: DataFrame, n_samples: usize) -> Result<Vec<String>> {
    let first = judged
        .filter(col(BROKEN).is_not_null())?
        .select_columns(&[DOC_ID, BROKEN])?
        .sort(vec![col(DOC_ID).sort(true, false)])?
        .limit(0, Some(n_samples))?
        .collect()
        .await?;
    let mut reasons = Vec::new();
    for batch in &first {
        let column = column(batch, BROKEN, |array| array.as_string_opt::<i64>())?;
        reasons.extend(column.iter().flatten().map(str::to_owned));
    }
    Ok(reasons)
}

impl RunReport {
    /// # Errors
    /// [`ClusterError::TooManyBroken`].
    pub(crate) fn check_broken(
        &self,
        limit: &BrokenLimit,
    ) -> std::result::Result<(), ClusterError> {
        let share = self.n_broken as f64 / self.n_records.max(1) as f64;
        let allowed = match limit.max_count {
            Some(max_count) if self.n_broken > max_count => format!("{max_count} records"),
            _ if share > limit.max_share => format!("{} % of the records", 100.0 * limit.max_share),
            _ => return Ok(()),
        };
        Err(ClusterError::TooManyBroken {
            allowed,
            n_broken: self.n_broken,
            n_records: self.n_records,
            first: self.broken.first().cloned().unwrap_or_default(),
        })
    }
}
