//! Truncation keeps what it says, and counts the rest.

use proptest::prelude::*;

use crate::{Example, IGNORE_LABEL, PackingError, Truncation, TruncationStatistics};

fn example(n_tokens: u32) -> Example {
    Example::from_ids((1..=n_tokens).collect())
}

#[track_caller]
fn check(rule: Truncation, expected: &[&[u32]], n_lost: usize, n_lost_loss: usize) {
    let mut statistics = TruncationStatistics::default();
    let kept = rule.apply(example(7), 3, &mut statistics).unwrap();
    let ids: Vec<&[u32]> = kept.iter().map(|kept| &kept.input_ids[..]).collect();
    assert_eq!(ids, expected);
    assert_eq!(
        (statistics.n_lost_tokens, statistics.n_lost_loss_tokens),
        (n_lost, n_lost_loss)
    );
    assert_eq!((statistics.n_too_long, statistics.n_tokens), (1, 7));
}

#[test]
fn each_rule_keeps_its_part() {
    check(Truncation::KeepStart, &[&[1, 2, 3]], 4, 4);
    check(Truncation::KeepEnd, &[&[5, 6, 7]], 4, 4);
    check(Truncation::Drop, &[], 7, 6);
    let windows = |overlap_tokens| Truncation::Windows { overlap_tokens };
    check(windows(0), &[&[1, 2, 3], &[4, 5, 6], &[7]], 0, 2);
    check(windows(1), &[&[1, 2, 3], &[3, 4, 5], &[5, 6, 7]], 0, 0);
    let twice: [&[u32]; 5] = [&[1, 2, 3], &[2, 3, 4], &[3, 4, 5], &[4, 5, 6], &[5, 6, 7]];
    check(windows(2), &twice, 0, 0);
}

#[test]
fn an_example_that_fits_is_left_alone() {
    for rule in [Truncation::KeepEnd, Truncation::Drop] {
        let mut statistics = TruncationStatistics::default();
        let kept = rule.apply(example(3), 3, &mut statistics).unwrap();
        assert_eq!(kept, [example(3)]);
        let counts = (statistics.n_too_long, statistics.n_lost_tokens);
        assert_eq!(counts, (0, 0));
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let rule = Truncation::Windows { overlap_tokens: 4 };
    let error = rule.check(4).unwrap_err();
    insta::assert_snapshot!(error, @"split long examples: expected `overlap_tokens` below the row's 4 tokens, found 4 (hint: lower it, or raise the row's length)");
    let error = Truncation::Drop.check(0).unwrap_err();
    assert!(matches!(error, PackingError::ZeroSize { name: "max_len" }));
    let crooked = Example {
        input_ids: vec![1, 2],
        labels: vec![1],
    };
    let error = Truncation::Drop.apply(crooked, 9, &mut TruncationStatistics::default());
    insta::assert_snapshot!(error.unwrap_err(), @"batch an example: expected as many labels as tokens, found 1 labels for 2 tokens (hint: fill labels without loss with `IGNORE_LABEL`)");
}

proptest! {
    #[test]
    fn windows_learn_each_token_once(
        mask in prop::collection::vec(any::<bool>(), 1..60),
        max_len in 2_usize..12,
        overlap_seed: usize,
    ) {
        let overlap_tokens = 1 + overlap_seed % (max_len - 1);
        let input_ids: Vec<u32> = (0..mask.len() as u32).collect();
        let labels = input_ids.iter().zip(&mask);
        let labels = labels.map(|(&id, &on)| if on { i64::from(id) } else { IGNORE_LABEL });
        let example = Example { labels: labels.collect(), input_ids };
        let mut statistics = TruncationStatistics::default();
        let rule = Truncation::Windows { overlap_tokens };
        let windows = rule.apply(example.clone(), max_len, &mut statistics).unwrap();

        // What each window learns, side by side, is what the example would teach.
        let learned = |example: &Example| -> Vec<i64> {
            example.labels.iter().skip(1).copied().filter(|&label| label != IGNORE_LABEL).collect()
        };
        let all: Vec<i64> = windows.iter().flat_map(learned).collect();
        prop_assert_eq!(all, learned(&example));
        prop_assert_eq!(statistics.n_lost_loss_tokens, 0);
        let n_places: usize = windows.iter().map(|window| window.input_ids.len()).sum();
        prop_assert_eq!(n_places, mask.len() + statistics.n_repeated_tokens);
        prop_assert!(windows.iter().all(|window| window.input_ids.len() <= max_len));
    }

    #[test]
    fn kept_and_lost_tokens_make_the_whole(
        n_tokens in 0_u32..40,
        max_len in 1_usize..20,
        rule in prop::sample::select(vec![Truncation::KeepStart, Truncation::KeepEnd, Truncation::Drop]),
    ) {
        let mut statistics = TruncationStatistics::default();
        let kept = rule.apply(example(n_tokens), max_len, &mut statistics).unwrap();
        let n_kept: usize = kept.iter().map(|example| example.input_ids.len()).sum();
        prop_assert_eq!(n_kept + statistics.n_lost_tokens, n_tokens as usize);
        let n_kept_loss: usize = kept.iter().map(Example::n_loss_tokens).sum();
        let n_loss = example(n_tokens).n_loss_tokens();
        prop_assert_eq!(n_kept_loss + statistics.n_lost_loss_tokens, n_loss);
    }
}
