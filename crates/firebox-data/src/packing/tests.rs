//! Packing is best fit, and loses no token.

use proptest::prelude::*;

use super::best_fit_decreasing;
use crate::{Example, PackingError, pack_windows};

/// Best-fit decreasing as the paper says it: looks at every row. Gives the free space of each.
fn reference(lengths: &[usize], capacity: usize) -> Vec<usize> {
    let mut lengths: Vec<usize> = lengths.iter().copied().filter(|&n| n > 0).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let mut free: Vec<usize> = Vec::new();
    for length in lengths {
        match free.iter_mut().filter(|free| **free >= length).min() {
            Some(tightest) => *tightest -= length,
            None => free.push(capacity - length),
        }
    }
    free.sort_unstable();
    free
}

#[test]
fn rows_are_filled_to_the_brim_where_lengths_allow() {
    let rows = best_fit_decreasing(&[4, 7, 1, 4, 8, 4, 4], 8).unwrap();
    assert_eq!(rows, [vec![4], vec![1, 2], vec![0, 3], vec![5, 6]]);
    assert!(best_fit_decreasing(&[], 8).unwrap().is_empty());
    assert!(best_fit_decreasing(&[0, 0], 8).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    let error = best_fit_decreasing(&[3, 9], 8).unwrap_err();
    insta::assert_snapshot!(error, @"pack document 1: expected at most the row's 8 tokens, found 9 (hint: apply a `Truncation` first)");
    let error = best_fit_decreasing(&[1], 0).unwrap_err();
    assert!(matches!(error, PackingError::ZeroSize { name: "seq_len" }));
    let documents = [Example::from_ids(vec![1; 9]), Example::from_ids(vec![1])];
    let rows: Vec<_> = pack_windows(documents, 8, 1).unwrap().collect();
    assert!(matches!(
        rows[..],
        [Err(PackingError::TooLong { n_tokens: 9, .. })]
    ));
}

#[test]
fn windows_pack_nearly_as_well_as_the_whole() {
    let lengths: Vec<usize> = (0..4000_usize).map(|i| 1 + i * 7919 % 97).collect();
    let documents = || lengths.iter().map(|&n| Example::from_ids(vec![7; n]));
    let whole = best_fit_decreasing(&lengths, 128).unwrap().len();
    let windows = pack_windows(documents(), 128, 8192).unwrap().count();
    assert!(windows >= whole);
    // 24 windows or so; without carrying, each could leave a row open.
    assert!(windows - whole <= 8, "{windows} rows instead of {whole}");
}

proptest! {
    #[test]
    fn packing_is_best_fit_decreasing(
        capacity in 1_usize..5000,
        seeds in prop::collection::vec(any::<usize>(), 0..200),
    ) {
        let lengths: Vec<usize> = seeds.iter().map(|seed| seed % (capacity + 1)).collect();
        let rows = best_fit_decreasing(&lengths, capacity).unwrap();
        let used = rows.iter().map(|row| row.iter().map(|&i| lengths[i]).sum::<usize>());
        let mut free: Vec<usize> = used.map(|used| capacity - used).collect();
        free.sort_unstable();
        prop_assert_eq!(free, reference(&lengths, capacity));

        let mut documents = rows.concat();
        documents.sort_unstable();
        let expected: Vec<usize> = (0..lengths.len()).filter(|&i| lengths[i] > 0).collect();
        prop_assert_eq!(documents, expected);
    }

    #[test]
    fn windows_give_each_document_once(
        lengths in prop::collection::vec(0_usize..20, 0..120),
        seq_len in 19_usize..40,
        window_tokens in 1_usize..200,
    ) {
        let documents = lengths.iter().enumerate().map(|(index, &n)| Example::from_ids(vec![index as u32; n]));
        let rows = pack_windows(documents, seq_len, window_tokens).unwrap();
        let rows: Vec<Vec<Example>> = rows.collect::<Result<_, _>>().unwrap();
        for row in &rows {
            let n_tokens: usize = row.iter().map(|example| example.input_ids.len()).sum();
            prop_assert!(n_tokens <= seq_len && n_tokens > 0);
        }
        let mut seen: Vec<(u32, usize)> =
            rows.concat().iter().map(|example| (example.input_ids[0], example.input_ids.len())).collect();
        seen.sort_unstable();
        let expected: Vec<(u32, usize)> =
            lengths.iter().enumerate().filter(|(_, n)| **n > 0).map(|(index, &n)| (index as u32, n)).collect();
        prop_assert_eq!(seen, expected);
    }
}
