use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::words::{Segmenter, split_words};
use super::{Outcome, RuleConfig, Rules, Value, WordCounting};
use crate::document::Document;

/// The filters that datatrove has too.
const KINDS: [&str; 4] = [
    "gopher-quality",
    "gopher-repetition",
    "c4-quality",
    "fineweb-quality",
];

/// What datatrove makes of a text: for each filter its reason, or none.
#[derive(Deserialize)]
struct Golden {
    #[serde(default)]
    text: String,
    words: usize,
    repetition: Map<String, Json>,
    #[serde(flatten)]
    reasons: Map<String, Json>,
}

fn golden() -> Vec<Golden> {
    let lines = include_str!("../../tests/golden/datatrove_filters.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn rules(kind: &str) -> Rules {
    let config = RuleConfig::with_defaults(kind).unwrap();
    Rules::new(&[config], WordCounting::default()).unwrap()
}

pub(super) fn document(text: &str) -> Document<'_> {
    Document {
        text: Cow::Borrowed(text),
        ..Document::default()
    }
}

#[test]
fn words_are_counted_as_datatrove_counts_them() {
    for golden in golden() {
        let words = split_words(&golden.text, &Segmenter::characters());
        assert_eq!(words.len(), golden.words, "{}", golden.text);
    }
}

#[test]
fn verdicts_and_reasons_are_those_of_datatrove() {
    let golden = golden();
    for kind in [
        "gopher-quality",
        "gopher-repetition",
        "c4-quality",
        "fineweb-quality",
    ] {
        let rules = rules(kind);
        for golden in &golden {
            let reason = match rules.apply(document(&golden.text)) {
                Outcome::Kept(kept) => {
                    if kind == "c4-quality" {
                        let expected = golden.reasons.get("c4_text").and_then(Json::as_str);
                        assert_eq!(kept.text, expected.unwrap_or(&golden.text));
                    }
                    Json::Null
                }
                Outcome::Dropped { reason, .. } => reason.check.into(),
            };
            assert_eq!(reason, golden.reasons[kind], "{kind}: {}", golden.text);
        }
    }
}

#[test]
fn repetition_is_measured_as_datatrove_measures_it() {
    let rules = rules("gopher-repetition");
    for golden in golden() {
        let [report] = rules.explain(&document(&golden.text)).try_into().unwrap();
        assert_eq!(report.findings.len(), golden.repetition.len());
        for finding in report.findings {
            let expected = golden.repetition[finding.check].as_f64().unwrap();
            let Value::Number(found) = finding.value else {
                panic!("{finding}")
            };
            // The file has twelve digits.
            assert!(
                (found - expected).abs() < 1e-12,
                "{finding}, expected {expected}: {}",
                golden.text
            );
        }
    }
}

#[test]
fn every_kind_has_a_source_and_defaults_that_pass_its_checks() {
    for kind in RuleConfig::KINDS {
        let config = RuleConfig::with_defaults(kind).unwrap();
        assert_eq!(config.kind(), *kind);
        assert!(!config.source().is_empty());
        let result = Rules::new(&[config], WordCounting::default());
        // Headings to look for have no default.
        assert_eq!(result.is_err(), *kind == "mesh-terms");
    }
}

/// The abstracts are not in the repository: `FIREBOX_ABSTRACTS` names the file that
/// `tests/golden/datatrove_abstracts.py` read.
#[test]
fn verdicts_on_real_abstracts_are_those_of_datatrove() {
    let Some(path) = std::env::var_os("FIREBOX_ABSTRACTS") else {
        println!("skipped: FIREBOX_ABSTRACTS names no file of abstracts");
        return;
    };
    let texts: HashMap<String, String> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<HashMap<String, Json>>(line).unwrap())
        .map(|record| {
            (
                record["id"].as_str().unwrap().into(),
                record["text"].as_str().unwrap().into(),
            )
        })
        .collect();
    let lines = include_str!("../../tests/golden/datatrove_abstracts.jsonl").lines();
    let mut n_equal_words = 0;
    let mut n_equal_verdicts = 0;
    for line in lines {
        let golden: Golden = serde_json::from_str(line).unwrap();
        let text = &texts[golden.reasons["id"].as_str().unwrap()];
        let n_words = split_words(text, &Segmenter::characters()).len();
        n_equal_words += usize::from(n_words == golden.words);
        // Of words cut differently there are at most a few.
        assert!(
            n_words.abs_diff(golden.words) <= 3 + golden.words / 50,
            "{text}"
        );
        for kind in KINDS {
            let reason = match rules(kind).apply(document(text)) {
                Outcome::Kept(_) => Json::Null,
                Outcome::Dropped { reason, .. } => reason.check.into(),
            };
            n_equal_verdicts += usize::from(reason == golden.reasons[kind]);
        }
    }
    println!("{n_equal_words} of 200 with equal words, {n_equal_verdicts} of 800 verdicts equal");
    assert!(n_equal_words >= 180 && n_equal_verdicts >= 796);
}
