use std::borrow::Cow;

use proptest::prelude::*;

use super::super::tests::document;
use super::super::{
    Bound, HasFields, LANGUAGES, MaxWords, MeshTerms, MinCharacters, MinWords, Nfkc, Outcome,
    RuleConfig, RuleCounts, Rules, SymbolRatio, Whitespace, WordCounting, YearRange,
};
use crate::document::Document;

fn rules(configs: &[RuleConfig]) -> Rules {
    Rules::new(configs, WordCounting::default()).unwrap()
}

fn min_words(min: usize) -> RuleConfig {
    RuleConfig::MinWords(MinWords { min })
}

#[test]
fn rules_are_shared_by_threads() {
    fn demand<T: Send + Sync>() {}
    demand::<Rules>();
}

#[test]
fn the_first_rule_that_drops_ends_the_run() {
    let rules = rules(&[
        min_words(1),
        min_words(3),
        RuleConfig::MaxWords(MaxWords { max: 1 }),
    ]);
    let outcome = rules.apply(document("two words"));
    let Outcome::Dropped {
        document,
        rule,
        kind,
        reason,
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (document.text.as_ref(), rule, kind),
        ("two words", 1, "min-words")
    );
    assert_eq!(reason.bound, Bound::AtLeast(3.0));
    assert_eq!(reason.to_string(), "words 2 (at least 3)");
}

#[test]
fn later_rules_see_the_rewritten_text() {
    let rules = rules(&[
        RuleConfig::Nfkc(Nfkc {}),
        RuleConfig::Whitespace(Whitespace::default()),
        RuleConfig::MinCharacters(MinCharacters { min: 4 }),
    ]);
    let mut read = document("ﬁ \u{a0} ok ");
    read.source = Some("{}");
    let Outcome::Kept(kept) = rules.apply(read) else {
        panic!("dropped")
    };
    assert_eq!(kept.text, "fi ok");
    // What was read stays beside it: a writer takes the other fields from there.
    assert_eq!(kept.source, Some("{}"));
    assert!(matches!(
        rules.apply(document(" a \u{a0} b")),
        Outcome::Dropped { rule: 2, .. }
    ));
}

#[test]
fn an_unchanged_document_stays_borrowed() {
    let rules = rules(&[
        RuleConfig::Nfkc(Nfkc {}),
        RuleConfig::Whitespace(Whitespace::default()),
    ]);
    let Outcome::Kept(kept) = rules.apply(document("as it was")) else {
        panic!("dropped")
    };
    assert!(matches!(kept.text, Cow::Borrowed(_)));
}

#[test]
fn explaining_runs_all_rules_and_agrees_with_applying() {
    let rules = rules(&[min_words(3), RuleConfig::Nfkc(Nfkc {}), min_words(2)]);
    let reports = rules.explain(&document("ﬁve six"));
    assert_eq!(
        reports
            .iter()
            .map(|report| report.keeps())
            .collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(reports[1].changed_text.as_deref(), Some("five six"));
    assert_eq!(reports[2].findings[0].to_string(), "words 2 (at least 2)");
}

#[test]
fn years_fields_and_headings_are_selected() {
    let years = YearRange {
        from: 2000,
        to: 2010,
        keep_unknown: false,
    };
    let fields = HasFields {
        fields: vec!["id".into(), "title".into()],
    };
    let headings = MeshTerms {
        any: vec!["Humans".into()],
        none: vec!["Animals".into()],
    };
    let rules = rules(&[
        RuleConfig::YearRange(years),
        RuleConfig::HasFields(fields),
        RuleConfig::MeshTerms(headings),
    ]);
    let good = Document {
        id: Some("7".into()),
        title: Some("A title".into()),
        year: Some(2005),
        mesh_terms: vec!["Humans".into(), "Fever".into()],
        ..document("text")
    };
    assert!(matches!(rules.apply(good.clone()), Outcome::Kept(_)));
    let dropped_by = |document| match rules.apply(document) {
        Outcome::Dropped { reason, .. } => reason.check,
        Outcome::Kept(_) => "nothing",
    };
    assert_eq!(
        dropped_by(Document {
            year: Some(1999),
            ..good.clone()
        }),
        "year"
    );
    assert_eq!(
        dropped_by(Document {
            year: Some(2011),
            ..good.clone()
        }),
        "year"
    );
    assert_eq!(
        dropped_by(Document {
            year: None,
            ..good.clone()
        }),
        "years known"
    );
    assert_eq!(
        dropped_by(Document {
            title: Some(" ".into()),
            ..good.clone()
        }),
        "title"
    );
    assert_eq!(
        dropped_by(Document {
            mesh_terms: vec!["Fever".into()],
            ..good.clone()
        }),
        "mesh_terms"
    );
    let animals = vec!["Humans".into(), "Animals".into()];
    assert_eq!(
        dropped_by(Document {
            mesh_terms: animals,
            ..good
        }),
        "mesh_terms"
    );
}

#[test]
fn every_senseless_threshold_is_in_the_one_error() {
    let configs = [
        min_words(0),
        RuleConfig::SymbolRatio(SymbolRatio { max: 25.0 }),
        RuleConfig::YearRange(YearRange {
            from: 2010,
            to: 2000,
            keep_unknown: true,
        }),
    ];
    let error = Rules::new(&configs, WordCounting::default())
        .unwrap_err()
        .to_string();
    for part in [
        "rule 1 (`min-words`), `min`",
        "found 25",
        "rule 3 (`year-range`), `from`",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Counts of documents `numbers` of a corpus, each with as many words as its number modulo five says.
fn count(rules: &Rules, numbers: impl Iterator<Item = u64>) -> RuleCounts {
    let mut counts = RuleCounts::new(rules, 3);
    for number in numbers {
        let text = "ﬁre ".repeat((number % 5) as usize);
        let document = Document {
            number,
            id: Some(format!("d{number}").into()),
            ..document(&text)
        };
        let _ = rules.apply_counted(document, 0, &mut counts);
    }
    counts
}

#[test]
fn counts_say_what_became_of_each_document() {
    let rules = rules(&[
        min_words(2),
        RuleConfig::Nfkc(Nfkc {}),
        RuleConfig::MaxWords(MaxWords { max: 3 }),
    ]);
    let counts = count(&rules, 1..11);
    assert_eq!((counts.n_documents, counts.n_kept), (10, 4));
    let rule = |at: usize| (counts.rules[at].n_dropped, counts.rules[at].n_changed);
    assert_eq!((rule(0), rule(1), rule(2)), ((4, 0), (0, 6), (2, 0)));
    assert_eq!(counts.n_text_bytes, 20 * 6);
    assert_eq!(counts.rules[0].n_dropped_text_bytes, 2 * 6);
    assert_eq!(counts.n_kept_text_bytes, 10 * 5);

    let names: Vec<_> = counts.rules[0]
        .samples
        .iter()
        .map(|s| s.id.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["d1", "d5", "d6"]);
    assert_eq!(counts.rules[0].samples[0].reason, "words 1 (at least 2)");
    assert_eq!(
        counts.rules[1].samples[0].reason,
        "\"ﬁre ﬁre \" became \"fire fire \""
    );
    assert_eq!(counts.rules[2].samples[0].beginning, "fire fire fire fire ");
}

proptest! {
    /// However the input is cut up, and in whatever order the parts are merged.
    #[test]
    fn counts_of_parts_merge_to_those_of_the_whole(cuts in prop::collection::vec(0..60u64, 0..5), seed in any::<u64>()) {
        let rules = rules(&[min_words(2), RuleConfig::Nfkc(Nfkc {}), RuleConfig::MaxWords(MaxWords { max: 3 })]);
        let mut bounds = cuts;
        bounds.extend([0, 60]);
        bounds.sort_unstable();
        let mut parts: Vec<_> = bounds.windows(2).map(|pair| count(&rules, pair[0]..pair[1])).collect();
        let mut merged = RuleCounts::new(&rules, 3);
        let mut state = seed;
        while !parts.is_empty() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % parts.len();
            merged.merge(parts.swap_remove(at));
        }
        prop_assert_eq!(merged, count(&rules, 0..60));
    }

    /// All rules at once, on any text: no panic, the same outcome each time, and `explain` agrees.
    #[test]
    fn rules_are_pure(text in "([a-zé]{1,8}[ .,\\n#{-]|[你好。]|\\PC|Ã©){0,80}") {
        let languages = LANGUAGES.map(String::from).to_vec();
        let configs: Vec<_> = RuleConfig::KINDS
            .iter()
            .filter(|kind| **kind != "mesh-terms" && **kind != "year-range")
            .map(|kind| match RuleConfig::with_defaults(kind).unwrap() {
                RuleConfig::Language(mut rule) => {
                    rule.languages.clone_from(&languages);
                    RuleConfig::Language(rule)
                }
                RuleConfig::MinWords(_) => min_words(1),
                other => other,
            })
            .collect();
        let rules = rules(&configs);
        let outcome = rules.apply(document(&text));
        prop_assert_eq!(&outcome, &rules.apply(document(&text)));
        let reports = rules.explain(&document(&text));
        let first = reports.iter().find(|report| !report.keeps()).map(|report| report.rule);
        match outcome {
            Outcome::Kept(_) => prop_assert_eq!(first, None),
            Outcome::Dropped { rule, .. } => prop_assert_eq!(first, Some(rule)),
        }
    }
}
