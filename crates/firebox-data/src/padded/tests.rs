//! Padding adds no loss, truncation is counted.

use proptest::prelude::*;

use crate::{BatchSource, DataError, Example, IGNORE_LABEL, Order, PaddedConfig, padded_batches};

fn config(batch_size: usize, max_len: usize, order: Order) -> PaddedConfig {
    PaddedConfig {
        batch_size,
        max_len,
        pad_id: 9,
        order,
    }
}

#[test]
fn rows_are_padded_to_the_longest_of_their_batch() {
    let examples = [vec![1, 2], vec![3, 4, 5], vec![6, 7]].map(Example::from_ids);
    let batches = padded_batches(examples, &config(2, 10, Order::InOrder)).unwrap();
    let batch = batches.batch(0);
    assert_eq!(batch.input_ids, [[1, 2, 9], [3, 4, 5]]);
    assert_eq!(batch.labels, [[1, 2, IGNORE_LABEL], [3, 4, 5]]);
    assert_eq!(batch.lengths, [2, 3]);
    assert_eq!(batches.batch(1).input_ids, [[6, 7]]);
    let statistics = batches.statistics();
    assert_eq!(
        (statistics.n_rows, statistics.n_tokens, statistics.n_padding),
        (3, 7, 1)
    );
    assert_eq!(statistics.n_loss_tokens, 4);
    assert_eq!(statistics.padding_share(), 0.125);
}

#[test]
fn long_examples_are_cut_and_those_left_without_loss_leave() {
    let mut prompt_only = Example::from_ids(vec![1, 2, 3, 4, 5]);
    prompt_only.labels[..4].fill(IGNORE_LABEL);
    let examples = [
        Example::from_ids(vec![5; 6]),
        prompt_only,
        Example::from_ids(vec![7]),
    ];
    let batches = padded_batches(examples, &config(1, 4, Order::InOrder)).unwrap();
    assert_eq!((batches.n_examples(), batches.n_without_loss()), (1, 2));
    assert_eq!(
        (batches.n_truncated(), batches.n_truncated_tokens()),
        (2, 3)
    );
    assert_eq!(batches.batch(0).input_ids, [[5; 4]]);
}

#[test]
fn no_example_with_loss_is_refused() {
    let error =
        padded_batches([Example::from_ids(vec![1])], &config(1, 4, Order::InOrder)).unwrap_err();
    insta::assert_snapshot!(error, @"make batches: expected at least one example with loss, found none in 1 inputs of 1 tokens (hint: is the data empty, too short, or selected away?)");
    let error = padded_batches([], &config(0, 4, Order::InOrder)).unwrap_err();
    assert!(matches!(error, DataError::ZeroSize { name: "batch_size" }));
}

proptest! {
    #[test]
    fn an_epoch_holds_every_example_once(
        lengths in prop::collection::vec(2_usize..12, 1..30),
        batch_size in 1_usize..6,
        seed: u64,
    ) {
        let examples: Vec<Example> = lengths
            .iter()
            .enumerate()
            .map(|(index, &len)| Example::from_ids(vec![100 + index as u32; len]))
            .collect();
        let order = Order::Shuffled { seed };
        let batches = padded_batches(examples.clone(), &config(batch_size, 12, order)).unwrap();
        let mut found = Vec::new();
        for step in 0..batches.n_batches() as u64 {
            let batch = batches.batch(step);
            for ((ids, labels), &len) in batch.input_ids.iter().zip(&batch.labels).zip(&batch.lengths) {
                prop_assert!(ids[len..].iter().all(|&id| id == 9));
                prop_assert!(labels[len..].iter().all(|&label| label == IGNORE_LABEL));
                found.push(Example { input_ids: ids[..len].to_vec(), labels: labels[..len].to_vec() });
            }
        }
        found.sort_by_key(|example| example.input_ids[0]);
        prop_assert_eq!(found, examples);
    }
}
