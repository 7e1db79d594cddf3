use super::super::tests::document;
use super::super::{FineWebQuality, Outcome, RuleConfig, Rules, WordCounting};

#[track_caller]
fn check(config: FineWebQuality, text: &str, expected: Option<&str>) {
    let rules = Rules::new(
        &[RuleConfig::FineWebQuality(config)],
        WordCounting::default(),
    )
    .unwrap();
    let reason = match rules.apply(document(text)) {
        Outcome::Kept(_) => None,
        Outcome::Dropped { reason, .. } => Some(reason.check),
    };
    assert_eq!(reason, expected, "{text}");
}

const LONG: &str = "A line that is longer than thirty characters and has an end.";

#[test]
fn each_rule_of_fineweb_drops_what_it_is_for() {
    let check = |text: &str, expected| check(FineWebQuality::default(), text, expected);
    check(LONG, None);
    check(" \n\n", Some("lines"));
    check(&LONG.replace('.', ","), Some("line_punct_ratio"));
    check(
        &format!("{LONG}\nshort\nwords\nhere"),
        Some("short_line_ratio"),
    );
    check(&format!("{LONG}\n\n{LONG}"), Some("char_dup_ratio"));
    check(&format!("{}{LONG}", "\n".repeat(30)), Some("list_ratio"));
}

#[test]
fn marks_of_other_scripts_end_lines() {
    check(
        FineWebQuality::default(),
        "这一行有一个句号，而且比三十个字符还要长一些，所以它不会被算作短行。",
        None,
    );
}

#[test]
fn a_text_without_any_mark_may_pass_if_wanted() {
    let config = FineWebQuality {
        line_punct_exclude_zero: true,
        ..FineWebQuality::default()
    };
    check(config, &LONG.replace('.', ","), None);
}
