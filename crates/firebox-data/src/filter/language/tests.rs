use std::collections::BTreeMap;

use super::super::tests::document;
use super::super::{LanguageRule, Outcome, RuleConfig, Rules, WordCounting};
use super::{LANGUAGES, identify_language};

fn sentences() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("../../../tests/golden/short_sentences.tsv").lines();
    lines.map(|line| line.split_once('\t').unwrap())
}

#[test]
fn short_sentences_of_the_known_languages_are_recognized() {
    for (language, sentence) in sentences().filter(|(language, _)| LANGUAGES.contains(language)) {
        assert_eq!(identify_language(sentence).code, language, "{sentence}");
    }
}

#[test]
fn no_sentence_of_another_language_is_taken_for_english_or_chinese() {
    for (language, sentence) in sentences() {
        let found = identify_language(sentence).code;
        assert!(
            found == language || !matches!(found, "en" | "zh"),
            "{language} {sentence}: {found}"
        );
    }
}

#[test]
fn languages_beyond_the_known_ones_are_mostly_undetermined() {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, sentence) in sentences().filter(|(language, _)| !LANGUAGES.contains(language)) {
        *found.entry(identify_language(sentence).code).or_default() += 1;
    }
    assert!(found["und"] >= 9, "{found:?}");
}

#[test]
fn texts_without_letters_are_undetermined() {
    for text in ["", " \n", "1234 + 5 = ?", "😀"] {
        assert_eq!(identify_language(text).code, "und", "{text}");
    }
}

#[test]
fn the_share_tells_mixed_texts() {
    let english =
        "The stove had gone out before anyone woke, and water was carried from the well. "
            .repeat(8);
    assert_eq!(identify_language(&english).share, 1.0);
    let german =
        "Der Ofen war aus, bevor jemand wach war, und das Wasser kam aus dem Brunnen. ".repeat(6);
    let mixed = identify_language(&(english + &german));
    assert!(mixed.code == "en" && mixed.share < 1.0, "{mixed:?}");
}

#[test]
fn the_rule_drops_other_languages_and_says_which() {
    let config = LanguageRule {
        languages: vec!["en".into(), "zh".into()],
        ..LanguageRule::default()
    };
    let rules = Rules::new(&[RuleConfig::Language(config)], WordCounting::default()).unwrap();
    for text in ["Where is the nearest hospital?", "最近的医院在哪里？"] {
        assert!(matches!(rules.apply(document(text)), Outcome::Kept(_)));
    }
    let Outcome::Dropped { reason, .. } = rules.apply(document("Wo ist das nächste Krankenhaus?"))
    else {
        panic!("kept");
    };
    assert_eq!(reason.to_string(), "language `de` (one of en, zh)");
}
