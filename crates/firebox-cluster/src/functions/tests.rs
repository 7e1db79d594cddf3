use std::borrow::Cow;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{UInt16Type, UInt32Type, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::logical_expr::Accumulator;
use firebox_data::filter::{Outcome, RuleCounts, Rules};
use firebox_data::{DedupConfig, Document, Fingerprinter, KeepRule, Recipe};
use proptest::prelude::*;

use super::counts::Sum;
use super::fingerprint::Fingerprint;
use super::judge::{Judge, JudgeSpec};
use super::{FunctionSpec, from_spec};
use crate::columns::ColumnBuilder;

const RECIPE: &str =
    "version = 1\n[[rule]]\nkind = \"nfkc\"\n[[rule]]\nkind = \"min-words\"\nmin = 4\n";

fn spec() -> JudgeSpec {
    let recipe = Recipe::from_toml(RECIPE).unwrap();
    JudgeSpec {
        rules: recipe.rules,
        words: recipe.words,
        n_samples: 2,
    }
}

fn document(number: u64, text: &str) -> Document<'_> {
    Document {
        number,
        text: Cow::Borrowed(text),
        source: Some("{}"),
        ..Document::default()
    }
}

fn batch(texts: &[String], first: usize) -> RecordBatch {
    let mut builder = ColumnBuilder::new(0);
    for (i, text) in texts.iter().enumerate() {
        builder.push(&document((first + i + 1) as u64, text));
    }
    builder.finish().unwrap()
}

fn column(result: &ArrayRef, at: usize) -> &ArrayRef {
    result.as_struct().column(at)
}

proptest! {
    #[test]
    fn verdicts_and_counts_are_those_of_the_rules_wherever_batches_begin(
        texts in prop::collection::vec("[a-c\u{fb01} ]{0,12}", 1..12),
        cut in 0_usize..12,
    ) {
        let spec = spec();
        let rules = Rules::new(&spec.rules, spec.words).unwrap();
        let judge = Judge::new(&spec).unwrap();
        let cut = cut.min(texts.len());
        let mut counts = RuleCounts::new(&rules, spec.n_samples);
        let mut sum = Sum::default();
        let mut row = 0;
        for part in [&texts[..cut], &texts[cut..]].into_iter().filter(|part| !part.is_empty()) {
            let verdicts = judge.run(batch(part, row).columns()).unwrap();
            let dropped_by = column(&verdicts, 0).as_primitive::<UInt32Type>();
            let changed = column(&verdicts, 1).as_string::<i64>();
            for (at, text) in part.iter().enumerate() {
                row += 1;
                match rules.apply_counted(document(row as u64, text), 0, &mut counts) {
                    Outcome::Kept(kept) => {
                        prop_assert!(dropped_by.is_null(at));
                        let found = changed.is_valid(at).then(|| changed.value(at));
                        prop_assert_eq!(found.unwrap_or(text), &kept.text);
                        let loses_source = column(&verdicts, 2).as_boolean().value(at);
                        prop_assert_eq!(loses_source, kept.source.is_none());
                    }
                    Outcome::Dropped { rule, .. } => prop_assert_eq!(dropped_by.value(at), rule as u32),
                }
            }
            sum.update_batch(&[column(&verdicts, 3).clone()]).unwrap();
        }
        let found = sum.evaluate().unwrap().to_string();
        prop_assert_eq!(serde_json::from_str::<RuleCounts>(&found).unwrap(), counts);
    }
}

#[test]
fn broken_records_are_not_judged() {
    let mut builder = ColumnBuilder::new(0);
    builder.push_broken(1, "no JSON");
    builder.push_skipped(2);
    builder.push(&document(3, "one two three four"));
    let verdicts = Judge::new(&spec())
        .unwrap()
        .run(builder.finish().unwrap().columns())
        .unwrap();
    assert_eq!(column(&verdicts, 0).null_count(), 3);
    let counts: RuleCounts =
        serde_json::from_str(column(&verdicts, 3).as_string::<i64>().value(0)).unwrap();
    assert_eq!((counts.n_documents, counts.n_kept), (1, 1));
}

#[test]
fn hashes_are_those_of_the_fingerprinter_and_ranks_those_of_the_rule() {
    let texts = ["Water is wet, and so are fish.".to_owned(), String::new()];
    let years = datafusion::arrow::array::UInt16Array::from(vec![Some(1999), None]);
    let batch = batch(&texts, 0);
    let texts_column = batch.column_by_name("text").unwrap().clone();
    for (keep, ranks) in [
        (KeepRule::First, [0, 0]),
        (KeepRule::Longest, [30, 0]),
        (KeepRule::Newest, [2000, 0]),
    ] {
        let config = DedupConfig {
            keep,
            ..DedupConfig::default()
        };
        let columns = [
            texts_column.clone(),
            std::sync::Arc::new(years.clone()) as ArrayRef,
        ];
        let prints = Fingerprint::new(&config).unwrap().run(&columns).unwrap();
        assert_eq!(
            column(&prints, 0).as_primitive::<UInt64Type>().values(),
            &ranks
        );
        let fingerprinter = Fingerprinter::new(&config).unwrap();
        for (row, text) in texts.iter().enumerate() {
            let expected = fingerprinter.fingerprint(text);
            let hashes = column(&prints, 1).as_list::<i32>().value(row);
            let [bands, high, low] = [0, 1, 2].map(|at| hashes.as_struct().column(at).clone());
            let bands = bands.as_primitive::<UInt16Type>();
            let (high, low) = (
                high.as_primitive::<UInt64Type>(),
                low.as_primitive::<UInt64Type>(),
            );
            assert_eq!(
                bands.values().to_vec(),
                (0..bands.len() as u16).collect::<Vec<_>>()
            );
            assert_eq!(
                u128::from(high.value(0)) << 64 | u128::from(low.value(0)),
                expected.exact
            );
            assert_eq!(&low.values()[1..], expected.bands.as_slice());
        }
    }
}

#[test]
fn a_function_is_the_same_after_it_was_sent() {
    for spec in [
        FunctionSpec::Judge(spec()),
        FunctionSpec::Fingerprint(DedupConfig::default()),
    ] {
        let sent = serde_json::to_vec(&spec).unwrap();
        let received: FunctionSpec = serde_json::from_slice(&sent).unwrap();
        assert_eq!(from_spec(received).unwrap(), from_spec(spec).unwrap());
    }
    let other = DedupConfig {
        keep: KeepRule::Longest,
        ..DedupConfig::default()
    };
    assert_ne!(
        from_spec(FunctionSpec::Fingerprint(other)).unwrap(),
        from_spec(FunctionSpec::Fingerprint(DedupConfig::default())).unwrap()
    );
}
