//! `firebox_judge(documents..) -> struct`: what the rules make of documents.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, LargeStringArray, LargeStringBuilder, StructArray, UInt32Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use firebox_data::filter::{Outcome, RuleConfig, RuleCounts, Rules, WordCounting};
use serde::{Deserialize, Serialize};

use crate::columns::{DocumentRows, document_schema};
use crate::read::external;

/// Which rule dropped the document, from 0; null if all kept it.
pub(crate) const RULE: &str = "rule";
/// The text that the rules made; null if they left it as it was.
pub(crate) const CHANGED_TEXT: &str = "changed_text";
/// Whether the record that the document was read from does not go along any more.
pub(crate) const LOSES_SOURCE: &str = "loses_source";
/// In the first row of a batch, the [`RuleCounts`] of the batch as JSON; null in the others. Sums over
/// all batches do not depend on where batches begin.
pub(crate) const COUNTS: &str = "counts";

/// What a judge needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JudgeSpec {
    pub(crate) rules: Vec<RuleConfig>,
    pub(crate) words: WordCounting,
    /// Samples of each rule, at most.
    pub(crate) n_samples: usize,
}

#[derive(Debug)]
pub(super) struct Judge {
    rules: Rules,
    n_samples: usize,
}

fn result_fields() -> Fields {
    Fields::from(vec![
        Field::new(RULE, DataType::UInt32, true),
        Field::new(CHANGED_TEXT, DataType::LargeUtf8, true),
        Field::new(LOSES_SOURCE, DataType::Boolean, false),
        Field::new(COUNTS, DataType::LargeUtf8, true),
    ])
}

pub(super) fn result_type() -> DataType {
    DataType::Struct(result_fields())
}

/// All columns of documents.
pub(super) fn n_arguments() -> usize {
    document_schema().fields().len()
}

impl Judge {
    pub(super) fn new(spec: &JudgeSpec) -> Result<Self> {
        Ok(Self {
            rules: Rules::new(&spec.rules, spec.words).map_err(external)?,
            n_samples: spec.n_samples,
        })
    }

    pub(super) fn run(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let batch = RecordBatch::try_new(document_schema(), columns.to_vec())?;
        let documents = DocumentRows::new(&batch)?;
        let mut dropped_by = UInt32Builder::with_capacity(batch.num_rows());
        let mut texts = LargeStringBuilder::new();
        let mut loses_source = BooleanBuilder::with_capacity(batch.num_rows());
        let mut counts = RuleCounts::new(&self.rules, self.n_samples);
        for row in 0..batch.num_rows() {
            if !documents.has_text(row) {
                dropped_by.append_null();
                texts.append_null();
                loses_source.append_value(false);
                continue;
            }
            let document = documents.document(row);
            let before = (document.text.clone(), document.source);
            match self
                .rules
                .apply_counted(document, documents.file(row), &mut counts)
            {
                Outcome::Kept(document) => {
                    dropped_by.append_null();
                    let is_changed = document.text != before.0;
                    texts.append_option(is_changed.then_some(&document.text));
                    loses_source.append_value(document.source != before.1);
                }
                Outcome::Dropped { rule, .. } => {
                    dropped_by.append_value(rule as u32);
                    texts.append_null();
                    loses_source.append_value(false);
                }
            }
        }
        let counts = serde_json::to_string(&counts).map_err(external)?;
        let counts = (0..batch.num_rows()).map(|row| (row == 0).then_some(counts.as_str()));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(dropped_by.finish()),
            Arc::new(texts.finish()),
            Arc::new(loses_source.finish()),
            Arc::new(counts.collect::<LargeStringArray>()),
        ];
        Ok(Arc::new(StructArray::try_new(
            result_fields(),
            columns,
            None,
        )?))
    }
}
