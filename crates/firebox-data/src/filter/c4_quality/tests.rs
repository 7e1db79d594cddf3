use super::super::tests::document;
use super::super::{C4Quality, Outcome, RuleConfig, Rules, WordCounting};
use super::sentences::count_sentences;
use super::without_citations;

fn apply(config: C4Quality, text: &str) -> Result<String, &'static str> {
    let rules = Rules::new(&[RuleConfig::C4Quality(config)], WordCounting::default()).unwrap();
    match rules.apply(document(text)) {
        Outcome::Kept(kept) => Ok(kept.text.into_owned()),
        Outcome::Dropped { reason, .. } => Err(reason.check),
    }
}

fn any_length() -> C4Quality {
    C4Quality {
        min_sentences: 0,
        ..C4Quality::default()
    }
}

#[test]
fn lines_that_are_no_running_text_are_removed() {
    let text = "A line that stays.\nA menu without a mark\nToo short.\nTurn on JavaScript to read this.\n\
                Read our Privacy Policy before use.\nAnother line that stays!\nAnd one that goes on...";
    assert_eq!(
        apply(any_length(), text).unwrap(),
        "A line that stays.\nAnother line that stays!"
    );
}

#[test]
fn pages_with_filler_or_code_are_dropped() {
    assert_eq!(
        apply(any_length(), "Lorem Ipsum dolor sit amet."),
        Err("lorem_ipsum")
    );
    assert_eq!(
        apply(any_length(), "The set {a} is small."),
        Err("curly_bracket")
    );
    // A line that is removed anyway is not asked.
    assert_eq!(
        apply(any_length(), "if (x) {\nA line that stays.").unwrap(),
        "A line that stays."
    );
}

#[test]
fn pages_with_few_sentences_left_are_dropped() {
    let config = C4Quality {
        min_sentences: 3,
        ..C4Quality::default()
    };
    assert_eq!(
        apply(config.clone(), "One is here. Two is here."),
        Err("too_few_sentences")
    );
    let text = "One is here. Two is here? Three is here!";
    assert_eq!(apply(config, text).unwrap(), text);
}

#[test]
fn citation_marks_are_removed_and_other_brackets_stay() {
    assert_eq!(
        without_citations("Burned[1] down.[citation needed][]"),
        "Burned down."
    );
    assert_eq!(without_citations("An [edit] mark[12"), "An  mark[12");
    assert_eq!(without_citations("see [a] and [[3]]"), "see [a] and []");
    assert!(matches!(
        without_citations("[a] [b"),
        std::borrow::Cow::Borrowed(_)
    ));
}

#[test]
fn a_word_of_a_thousand_characters_removes_its_line() {
    let long = "x".repeat(1001);
    let text = format!("A line with {long} in it.\nA line that stays.");
    assert_eq!(apply(any_length(), &text).unwrap(), "A line that stays.");
}

#[test]
fn sentences_start_after_marks_that_stand_alone() {
    for (line, n_sentences) in [
        ("One. Two? Three!", 3),
        ("It was 2.5 mg, e.g. of salt.", 1),
        ("He said \"No!\" and left.", 2),
        ("No mark at all", 1),
        ("Wait... what?!", 1),
        ("第一句。第二句！", 2),
        ("", 0),
    ] {
        assert_eq!(count_sentences(line), n_sentences, "{line}");
    }
}
