use super::super::tests::document;
use super::super::{GopherQuality, Outcome, RuleConfig, Rules, Value, WordCounting};

fn values(config: GopherQuality, text: &str) -> Vec<(&'static str, f64)> {
    let rules = Rules::new(
        &[RuleConfig::GopherQuality(config)],
        WordCounting::default(),
    )
    .unwrap();
    let [report] = rules.explain(&document(text)).try_into().unwrap();
    let number = |value| match value {
        Value::Number(number) => number,
        Value::Text(text) => panic!("{text}"),
    };
    report
        .findings
        .into_iter()
        .map(|finding| (finding.check, number(finding.value)))
        .collect()
}

#[track_caller]
fn check(text: &str, name: &str, expected: f64) {
    let values = values(GopherQuality::default(), text);
    let found = values.iter().find(|(check, _)| *check == name).unwrap();
    // Quotients of small integers.
    assert!((found.1 - expected).abs() < 1e-12, "{values:?}");
}

#[test]
fn words_of_punctuation_alone_do_not_count_towards_length() {
    check("one, two!", "gopher_short_doc", 2.0);
    check("one, twos!", "gopher_below_avg_threshold", 3.5);
}

#[test]
fn symbols_are_counted_per_word_punctuation_included() {
    check("# one two", "gopher_too_many_hashes", 1.0 / 3.0);
    check("one... two… three", "gopher_too_many_ellipsis", 2.0 / 5.0);
}

#[test]
fn lines_are_judged_by_their_visible_ends() {
    let text = "- one\n  • two \nthree... \nfour…\n\nfive";
    check(text, "gopher_too_many_bullets", 2.0 / 6.0);
    check(text, "gopher_too_many_end_ellipsis", 2.0 / 6.0);
}

#[test]
fn words_with_a_letter_are_a_share_of_all_words() {
    check("a1 22, b", "gopher_below_alpha_threshold", 2.0 / 4.0);
}

#[test]
fn different_stop_words_count_once_and_by_case() {
    check("the the of The", "gopher_enough_stop_words", 2.0);
    check("mother thermos", "gopher_enough_stop_words", 0.0);
}

#[test]
fn an_empty_text_is_too_short_and_divides_nothing_by_zero() {
    let values = values(GopherQuality::default(), "");
    assert!(values.iter().all(|(_, value)| *value == 0.0), "{values:?}");
}

#[test]
fn chinese_passes_with_chinese_stop_words() {
    let config = GopherQuality {
        min_words: 10,
        min_mean_word_length: 1.0,
        stop_words: vec!["的".into(), "是".into(), "在".into()],
        ..GopherQuality::default()
    };
    let rules = Rules::new(
        &[RuleConfig::GopherQuality(config)],
        WordCounting::Characters,
    )
    .unwrap();
    let text = "这是一个很小的面包店，在城市的东边。他每天早上在这里工作。";
    assert!(matches!(rules.apply(document(text)), Outcome::Kept(_)));
}
