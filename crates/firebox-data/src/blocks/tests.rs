//! Packing loses no token and invents none.

use proptest::prelude::*;

use crate::{BatchSource, BlockConfig, DataError, Order, block_batches};

fn config(block_len: usize, batch_size: usize, order: Order) -> BlockConfig {
    BlockConfig {
        separator_id: 0,
        block_len,
        batch_size,
        order,
    }
}

#[test]
fn blocks_are_cut_from_the_stream_of_documents() {
    let documents = [vec![1, 2, 3], vec![], vec![4, 5, 6, 7, 8]];
    // 1 2 3 0 0 4 5 6 7 8 0: two blocks of four and three tokens more.
    let batches = block_batches(&documents, &config(4, 2, Order::InOrder)).unwrap();
    assert_eq!((batches.n_blocks(), batches.n_dropped_tokens()), (2, 3));
    let batch = batches.batch(0);
    assert_eq!(batch.input_ids, [[1, 2, 3, 0], [0, 4, 5, 6]]);
    assert_eq!(batch.labels, [[1, 2, 3, 0], [0, 4, 5, 6]]);
    assert_eq!(batch.lengths, [4, 4]);
    assert_eq!(
        batches.batch(1),
        batch,
        "the second epoch repeats the first"
    );
}

#[test]
fn the_last_batch_may_be_smaller() {
    let documents = [(1..=20).collect::<Vec<u32>>()];
    let batches = block_batches(&documents, &config(3, 4, Order::InOrder)).unwrap();
    assert_eq!((batches.n_blocks(), batches.n_batches()), (7, 2));
    assert_eq!(
        batches.batch(1).input_ids,
        [[13, 14, 15], [16, 17, 18], [19, 20, 0]]
    );
    assert_eq!(batches.batch(2).input_ids[0], [1, 2, 3]);
    let statistics = batches.statistics();
    assert_eq!(
        (statistics.n_rows, statistics.n_tokens, statistics.n_padding),
        (7, 21, 0)
    );
    assert_eq!(statistics.n_loss_tokens, 14);
    assert_eq!(statistics.padding_share(), 0.0);
}

#[test]
fn too_little_data_is_refused() {
    let error = block_batches([vec![1_u32, 2]], &config(4, 1, Order::InOrder)).unwrap_err();
    insta::assert_snapshot!(error, @"make batches: expected at least one block of 4 tokens, found none in 1 inputs of 3 tokens (hint: is the data empty, too short, or selected away?)");
    let error = block_batches([vec![1_u32]], &config(0, 1, Order::InOrder)).unwrap_err();
    assert!(matches!(error, DataError::ZeroSize { name: "block_len" }));
    let error = block_batches([vec![1_u32]], &config(1, 0, Order::InOrder)).unwrap_err();
    assert!(matches!(error, DataError::ZeroSize { name: "batch_size" }));
}

proptest! {
    #[test]
    fn packing_loses_no_token(
        documents in prop::collection::vec(prop::collection::vec(1_u32..99, 0..20), 0..20),
        block_len in 1_usize..16,
        batch_size in 1_usize..5,
    ) {
        let stream: Vec<u32> =
            documents.iter().flat_map(|ids| ids.iter().copied().chain([0])).collect();
        match block_batches(&documents, &config(block_len, batch_size, Order::InOrder)) {
            Err(_) => prop_assert!(stream.len() < block_len),
            Ok(batches) => {
                let packed: Vec<u32> = (0..batches.n_batches() as u64)
                    .flat_map(|step| batches.batch(step).input_ids.concat())
                    .collect();
                prop_assert_eq!(&packed, &stream[..packed.len()]);
                prop_assert_eq!(packed.len() + batches.n_dropped_tokens(), stream.len());
                prop_assert!(batches.n_dropped_tokens() < block_len);
            }
        }
    }

    #[test]
    fn each_epoch_visits_every_block_once(
        n_blocks in 1_usize..40,
        batch_size in 1_usize..7,
        seed: u64,
        epoch in 0_u64..5,
    ) {
        let documents: Vec<[u32; 1]> = (1..=n_blocks as u32).map(|id| [id]).collect();
        let order = Order::Shuffled { seed };
        let batches = block_batches(&documents, &config(2, batch_size, order)).unwrap();
        let n_batches = batches.n_batches() as u64;
        let steps = epoch * n_batches..(epoch + 1) * n_batches;
        let mut first_ids: Vec<u32> = steps
            .flat_map(|step| batches.batch(step).input_ids.into_iter().map(|row| row[0]))
            .collect();
        first_ids.sort_unstable();
        prop_assert_eq!(first_ids, (1..=n_blocks as u32).collect::<Vec<_>>());
    }

    #[test]
    fn a_resumed_run_sees_the_same_batches(seed: u64, step in 0_u64..60) {
        let documents: Vec<Vec<u32>> = (1..30).map(|id| vec![id; 5]).collect();
        let make = || block_batches(&documents, &config(4, 3, Order::Shuffled { seed })).unwrap();
        let whole_run = make();
        let before = (0..=step).map(|step| whole_run.batch(step)).last();
        prop_assert_eq!(before, Some(make().batch(step)));
    }
}
