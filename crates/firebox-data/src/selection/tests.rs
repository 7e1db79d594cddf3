//! Records are chosen by stated rules.

use proptest::prelude::*;

use crate::{DataError, Message, Record, Selection, TextRecord, every_nth, split_held_out};

fn record(id: &str, year: Option<u16>, text: &str) -> TextRecord {
    TextRecord {
        id: Some(id.into()),
        year,
        text: text.into(),
        title: None,
        ..TextRecord::default()
    }
}

fn ids(records: &[TextRecord]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|record| record.id.as_deref())
        .collect()
}

#[test]
fn every_rule_that_is_set_must_hold() {
    let records = [
        record("early", Some(1976), "12345"),
        record("first", Some(1977), "12345"),
        record("undated", None, "12345"),
        record("short", Some(1978), "1234"),
        record("characters", Some(1978), "一二三四五"),
        record("long", Some(1978), "123456"),
        record("held out", Some(1978), "12345"),
        record("last", Some(1979), "12345"),
        record("late", Some(1980), "12345"),
    ];
    let all = || {
        let chat = Record::Chat(vec![Message::user("x")]);
        [chat]
            .into_iter()
            .chain(records.iter().cloned().map(Record::Text))
            .map(Ok)
    };
    let selection = Selection {
        min_year: Some(1977),
        max_year: Some(1979),
        min_chars: Some(5),
        max_chars: Some(5),
        exclude_ids: ["held out".to_string()].into(),
        limit: None,
    };
    let selected = selection.select(all()).unwrap();
    assert_eq!(ids(&selected), ["first", "characters", "last"]);
    let limited = Selection {
        limit: Some(2),
        ..selection
    }
    .select(all())
    .unwrap();
    assert_eq!(ids(&limited), ["first", "characters"]);
    assert_eq!(Selection::default().select(all()).unwrap(), records);
    let none = Selection {
        limit: Some(0),
        ..Selection::default()
    };
    assert!(none.select(all()).unwrap().is_empty());
}

#[test]
fn errors_pass_and_the_limit_comes_before_them() {
    let bad = || Err(DataError::NoTemplate);
    let good = || Ok(Record::Text(record("a", None, "x")));
    assert!(Selection::default().select([good(), bad()]).is_err());
    let first = Selection {
        limit: Some(1),
        ..Selection::default()
    };
    assert_eq!(first.select([good(), bad()]).unwrap().len(), 1);
}

#[test]
fn a_selection_is_read_from_a_config() {
    let selection: Selection =
        serde_json::from_str(r#"{"min_year": 1977, "exclude_ids": ["3"]}"#).unwrap();
    assert_eq!(selection.min_year, Some(1977));
    assert!(selection.exclude_ids.contains("3"));
    assert!(serde_json::from_str::<Selection>(r#"{"min_years": 1977}"#).is_err());
}

#[test]
fn held_out_items_are_spread_as_python_slices_do() {
    // old[::len(old) // n][:n]
    assert_eq!(every_nth(10, 3).collect::<Vec<_>>(), [0, 3, 6]);
    assert_eq!(every_nth(11, 4).collect::<Vec<_>>(), [0, 2, 4, 6]);
    assert_eq!(every_nth(2, 4).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(every_nth(5, 0).count() + every_nth(0, 5).count(), 0);
    let split = split_held_out((0..10).collect(), 3);
    assert_eq!(split.held_out, [0, 3, 6]);
    assert_eq!(split.training, [1, 2, 4, 5, 7, 8, 9]);
}

proptest! {
    #[test]
    fn a_split_loses_and_repeats_nothing(len in 0_usize..200, n in 0_usize..60) {
        let split = split_held_out((0..len).collect(), n);
        prop_assert_eq!(split.held_out.len(), n.min(len));
        let mut all = [split.held_out, split.training].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..len).collect::<Vec<_>>());
    }
}
