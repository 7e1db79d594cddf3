use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const QUESTION: &str =
    "Which of the following gases makes up the largest share of the air that we breathe?";

fn index(records: &[&str]) -> EvaluationIndex {
    let mut index = EvaluationIndex::new(&DecontaminateConfig::default()).unwrap();
    for (number, record) in (1..).zip(records) {
        index.add("eval.jsonl", number, record).unwrap();
    }
    index
}

#[test]
fn a_document_with_thirteen_words_of_a_record_is_found_and_named() {
    let index = index(&[
        "Something else that has nothing to do with the question of what we breathe in.",
        QUESTION,
    ]);
    let text = "Quiz -- WHICH of the following gases makes up the largest share of the AIR, hm?";
    let found = index.find(text).unwrap();
    assert_eq!(
        (found.set.to_str(), found.record, found.n_matches),
        (Some("eval.jsonl"), 2, 1)
    );
    assert_eq!(
        found.n_gram,
        "which of the following gases makes up the largest share of the air"
    );
}

#[test]
fn twelve_words_are_not_enough() {
    let text = "Quiz: which of the following gases makes up the largest share of the pie?";
    assert_eq!(index(&[QUESTION]).find(text), None);
}

#[test]
fn chinese_is_compared_by_characters() {
    let index = index(&["下列哪种气体在我们呼吸的空气中所占的比例最大？"]);
    let found = index.find("问题：下列哪种气体在我们呼吸的空气里").unwrap();
    assert_eq!(found.n_gram, "下列哪种气体在我们呼吸的空");
    assert_eq!(index.find("下列哪种气体在我们呼吸的水"), None);
}

#[test]
fn short_records_are_looked_for_whole_and_very_short_ones_not_at_all() {
    let index = index(&[
        "One two three four five six seven eight.",
        "One two three.",
        "",
    ]);
    assert_eq!((index.n_records(), index.n_too_short()), (1, 2));
    let found = index
        .find("zero one two three four five six seven eight nine")
        .unwrap();
    assert_eq!(found.n_gram, "one two three four five six seven eight");
    assert_eq!(index.find("one two three four five six seven"), None);
}

#[test]
fn the_first_n_gram_of_the_document_is_named_whatever_its_length() {
    let index = index(&[QUESTION, "one two three four five six seven eight"]);
    let text = format!("{QUESTION} One two three four five six seven eight.");
    let found = index.find(&text).unwrap();
    assert_eq!((found.record, found.n_matches), (1, 16 - 12 + 1));
}

#[test]
fn of_equal_records_the_first_is_named() {
    assert_eq!(
        index(&[QUESTION, QUESTION]).find(QUESTION).unwrap().record,
        1
    );
}

#[test]
fn fewer_matches_than_asked_for_are_no_contamination() {
    let config = DecontaminateConfig {
        min_matches: 3,
        ..DecontaminateConfig::default()
    };
    let mut index = EvaluationIndex::new(&config).unwrap();
    index.add("eval.jsonl", 1, QUESTION).unwrap();
    let words: Vec<&str> = QUESTION.split(' ').collect();
    assert_eq!(index.find(&words[..14].join(" ")), None);
    assert_eq!(index.find(&words[..15].join(" ")).unwrap().n_matches, 3);
}

#[test]
fn an_index_without_records_finds_nothing() {
    assert_eq!(index(&[]).find(QUESTION), None);
}

#[test]
fn sets_are_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qa.jsonl");
    let chat = r#"{"messages": [{"role": "user", "content": "What makes up the largest share of"}, {"role": "assistant", "content": "the air that we breathe is nitrogen."}]}"#;
    std::fs::write(&path, format!("{{\"text\": \"{QUESTION}\"}}\n{chat}\n")).unwrap();
    let config = DecontaminateConfig {
        against: vec![path.clone()],
        ..DecontaminateConfig::default()
    };
    let index = EvaluationIndex::read(&config).unwrap();
    assert_eq!(index.n_records(), 2);
    let found = index
        .find("what makes up the largest share of the air that we breathe is nitrogen")
        .unwrap();
    assert_eq!((found.set, found.record), (path.as_path(), 2));

    let missing = DecontaminateConfig {
        against: vec!["missing.jsonl".into()],
        ..config
    };
    let error = EvaluationIndex::read(&missing).unwrap_err();
    insta::assert_snapshot!(error, @"read the evaluation set `missing.jsonl` (hint: correct `against` of [decontaminate])");
}

proptest! {
    #[test]
    fn documents_are_found_that_share_an_n_gram(
        records in proptest::collection::vec(proptest::collection::vec("[a-c]", 0..12), 0..6),
        document in proptest::collection::vec("[a-c]", 0..30),
    ) {
        let config = DecontaminateConfig { n_gram: 6, min_n_gram: 4, ..DecontaminateConfig::default() };
        let mut index = EvaluationIndex::new(&config).unwrap();
        let mut n_grams = HashSet::new();
        for (number, record) in (1..).zip(&records) {
            index.add("eval.jsonl", number, &record.join(" ")).unwrap();
            let n = record.len().min(6);
            if n >= 4 {
                n_grams.extend(record.windows(n).map(<[String]>::to_vec));
            }
        }
        let lengths = [4, 5, 6];
        let n_matches = lengths.iter().flat_map(|n| document.windows(*n)).filter(|w| n_grams.contains(*w)).count();
        let found = index.find(&document.join(" ")).map_or(0, |found| found.n_matches);
        prop_assert_eq!(found, n_matches as u64);
    }
}
