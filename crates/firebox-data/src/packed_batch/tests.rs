//! Packed rows keep documents whole, apart, and with their masks.

use proptest::prelude::*;

use crate::{
    Example, IGNORE_LABEL, Order, PackedBatch, PackedConfig, PackingError, Truncation,
    packed_batches,
};

fn config(seq_len: usize, batch_size: usize) -> PackedConfig {
    PackedConfig {
        seq_len,
        batch_size,
        pad_id: 0,
        truncation: Truncation::Windows { overlap_tokens: 1 },
        order: Order::InOrder,
    }
}

/// The documents of a batch, cut out by its cumulative lengths.
fn documents(batch: &PackedBatch) -> Vec<Example> {
    let (ids, labels) = (batch.input_ids.concat(), batch.labels.concat());
    let bounds = batch.cu_seqlens();
    let spans = bounds.windows(2).map(|ends| ends[0]..ends[1]);
    spans
        .map(|span| Example {
            input_ids: ids[span.clone()].to_vec(),
            labels: labels[span].to_vec(),
        })
        .collect()
}

#[test]
fn documents_have_their_own_positions_and_bounds() {
    let examples = [4, 2, 1, 3, 2].map(|n| Example::from_ids((1..=n).collect()));
    let batches = packed_batches(examples, &config(5, 2)).unwrap();
    // The document of one token has no loss: nothing predicts it.
    assert_eq!((batches.n_rows(), batches.n_without_loss()), (3, 1));
    let batch = batches.batch(0);
    assert_eq!(batch.input_ids, [[1, 2, 3, 4, 0], [1, 2, 3, 1, 2]]);
    assert_eq!(batch.position_ids, [[0, 1, 2, 3, 0], [0, 1, 2, 0, 1]]);
    let none = IGNORE_LABEL;
    assert_eq!(batch.labels, [[none, 2, 3, 4, none], [none, 2, 3, none, 2]]);
    assert_eq!(batch.cu_seqlens(), [0, 4, 5, 8, 10]);
    assert_eq!(batch.document_lengths, [vec![4], vec![3, 2]]);
    let last = batches.batch(1);
    assert_eq!(last.cu_seqlens(), [0, 2, 5]);
    assert_eq!(
        batches.batch(2),
        batch,
        "the second epoch repeats the first"
    );
    assert_eq!(batch.clone().into_batch().lengths, [4, 5]);
}

#[test]
fn nothing_to_learn_is_refused() {
    let examples = [Example::from_ids(vec![1]), Example::default()];
    let error = packed_batches(examples, &config(5, 2)).unwrap_err();
    insta::assert_snapshot!(error, @"pack rows: expected at least one example with loss, found none in 2 examples of 1 tokens (hint: is the data empty, or does the truncation cut all answers off?)");
    let error = packed_batches([], &config(5, 0)).unwrap_err();
    assert!(matches!(
        error,
        PackingError::ZeroSize { name: "batch_size" }
    ));
}

fn masked_examples() -> impl Strategy<Value = Vec<Example>> {
    let example = prop::collection::vec((1_u32..1000, any::<bool>()), 0..30);
    let to_example = |tokens: Vec<(u32, bool)>| Example {
        input_ids: tokens.iter().map(|token| token.0).collect(),
        labels: tokens
            .iter()
            .map(|&(id, has_loss)| {
                if has_loss {
                    i64::from(id)
                } else {
                    IGNORE_LABEL
                }
            })
            .collect(),
    };
    prop::collection::vec(example.prop_map(to_example), 1..40)
}

proptest! {
    #[test]
    fn packing_keeps_every_token_and_mask(
        examples in masked_examples(),
        batch_size in 1_usize..5,
        seed: u64,
    ) {
        let config = PackedConfig {
            order: Order::Shuffled { seed },
            ..config(30, batch_size)
        };
        let mut expected: Vec<Example> = examples
            .iter()
            .filter(|example| example.n_loss_tokens() > 0)
            .cloned()
            .map(|mut example| {
                example.labels[0] = IGNORE_LABEL;
                example
            })
            .collect();
        let Ok(batches) = packed_batches(examples, &config) else {
            prop_assert!(expected.is_empty());
            return Ok(());
        };
        let mut found = Vec::new();
        let mut total = crate::BatchStatistics::default();
        for step in 0..batches.n_batches() as u64 {
            let batch = batches.batch(step);
            prop_assert!(batch.input_ids.iter().all(|row| row.len() == 30));
            let bounds = batch.cu_seqlens();
            prop_assert!(bounds.windows(2).all(|ends| ends[0] < ends[1]));
            prop_assert_eq!(bounds.last().copied(), Some(batch.input_ids.len() * 30));
            for row in 0..batch.input_ids.len() {
                prop_assert!(bounds.contains(&(row * 30)), "no document crosses a row's end");
            }
            let positions = batch.position_ids.concat();
            for ends in bounds.windows(2) {
                let span: Vec<u32> = (0..(ends[1] - ends[0]) as u32).collect();
                prop_assert_eq!(&positions[ends[0]..ends[1]], &span[..]);
            }
            found.extend(documents(&batch).into_iter().filter(|document| document.input_ids[0] != 0));
            total.add(batch.statistics());
        }
        prop_assert_eq!(total, batches.statistics());
        let key = |example: &Example| (example.input_ids.clone(), example.labels.clone());
        found.sort_by_key(key);
        expected.sort_by_key(key);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_two_rows_fit_into_one(
        lengths in prop::collection::vec(2_usize..50, 1..200),
    ) {
        let examples = lengths.iter().map(|&n| Example::from_ids(vec![1; n]));
        let batches = packed_batches(examples, &config(64, 4)).unwrap();
        let mut used: Vec<usize> = batches.rows.iter()
            .map(|row| row.iter().map(|example| example.input_ids.len()).sum())
            .collect();
        used.sort_unstable();
        prop_assert!(used.len() < 2 || used[0] + used[1] > 64);
    }
}
