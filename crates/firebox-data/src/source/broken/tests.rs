//! The limit on broken records.

use proptest::prelude::*;

use super::{BrokenCount, BrokenLimit};
use crate::{BrokenReason, BrokenRecord, Place, PlaceUnit};

fn broken(number: u64) -> BrokenRecord {
    let place = Place {
        path: "x.jsonl".into(),
        unit: PlaceUnit::Line,
        number,
    };
    let reason = BrokenReason::TooLarge { limit_bytes: 7 };
    BrokenRecord { place, reason }
}

/// Counts records, of which those with `true` are broken.
fn count(records: impl Iterator<Item = (u64, bool)>, limit: BrokenLimit) -> BrokenCount {
    let mut count = BrokenCount::new(limit);
    for (number, is_broken) in records {
        let record = if is_broken {
            Err(broken(number))
        } else {
            Ok(())
        };
        assert_eq!(count.check(record).is_none(), is_broken);
    }
    count
}

fn shown(count: &BrokenCount) -> (u64, u64, Vec<u64>) {
    let samples = count.samples().iter().map(|sample| number_of(sample));
    (count.n_records(), count.n_broken(), samples.collect())
}

proptest! {
    #[test]
    fn counts_of_blocks_merge_to_that_of_the_whole(
        records in prop::collection::vec(any::<bool>(), 0..60),
        n_a_block in 1..20_usize,
        n_samples in 0..8_usize,
    ) {
        let limit = BrokenLimit { n_samples, ..BrokenLimit::default() };
        let numbered: Vec<(u64, bool)> = (1..).zip(records).collect();
        let mut merged = BrokenCount::new(limit);
        for block in numbered.chunks(n_a_block) {
            merged.merge(count(block.iter().copied(), limit));
        }
        prop_assert_eq!(shown(&merged), shown(&count(numbered.into_iter(), limit)));
    }
}

#[test]
fn one_percent_passes_and_more_does_not() {
    let of = |n_broken: u64, n_records: u64| {
        count(
            (1..=n_records).map(|number| (number, number <= n_broken)),
            BrokenLimit::default(),
        )
    };
    assert!(of(10, 1000).check_limit().is_ok());
    assert!(of(11, 1000).check_limit().is_err());
    assert!(of(1, 999).check_limit().is_ok());
    assert!(of(0, 0).check_at_end().is_ok());
    let error = of(1, 10).check_at_end().unwrap_err();
    insta::assert_snapshot!(error, @"read the data: expected at most 1 % of the records broken, found 1 of 10 records (10.00 %); the first: `x.jsonl`, line 1: expected at most 7 bytes, found more (hint: split the record, or raise `max_record_bytes`) (hint: correct the data, or raise the limit)");
    assert!(of(1, 10).check_limit().is_ok());
}

#[test]
fn a_number_limits_from_the_start() {
    let limit = BrokenLimit {
        max_share: 1.0,
        max_count: Some(2),
        ..BrokenLimit::default()
    };
    assert!(
        count([(1, true), (2, true)].into_iter(), limit)
            .check_limit()
            .is_ok()
    );
    let three = count([(1, true), (2, true), (3, true)].into_iter(), limit);
    assert!(three.check_limit().is_err());
}

/// The line that a sample names.
fn number_of(sample: &str) -> u64 {
    let digits = sample.split("line ").nth(1).unwrap_or_default();
    digits
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or_default()
        .parse()
        .unwrap()
}
