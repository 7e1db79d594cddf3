//! The same batches, whatever the threads and wherever a run was interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use crate::error::Source;
use crate::{
    Example, ExampleSource, Loader, LoaderConfig, LoaderError, LoaderState, Order, PackedBatch,
    Prefetch, RankShard, RowLayout, Truncation, WeightedSource,
};

/// Examples that carry their own name: `first + index`, of differing lengths from 2 on.
fn corpus(first: u32, n_examples: u32) -> Vec<Example> {
    let examples = (first..first + n_examples).map(|id| vec![id; 2 + id as usize * 7 % 5]);
    examples.map(Example::from_ids).collect()
}

fn sources() -> Vec<WeightedSource> {
    vec![
        WeightedSource::new("papers", 3.0, corpus(1000, 17)),
        WeightedSource::new("chats", 1.0, corpus(2000, 5)),
    ]
}

fn config(layout: RowLayout) -> LoaderConfig {
    LoaderConfig {
        batch_size: 3,
        max_len: 9,
        pad_id: 0,
        layout,
        truncation: Truncation::KeepStart,
        order: Order::Shuffled { seed: 5 },
        shard: RankShard::default(),
        n_examples: None,
    }
}

fn all(loader: Loader) -> Vec<PackedBatch> {
    loader.collect::<Result<_, _>>().unwrap()
}

/// The names of the documents in batches, in order.
fn names(batches: &[PackedBatch]) -> Vec<u32> {
    let mut names = Vec::new();
    for batch in batches {
        for (ids, lengths) in batch.input_ids.iter().zip(&batch.document_lengths) {
            let mut start = 0;
            for length in lengths {
                names.push(ids[start]);
                start += length;
            }
        }
    }
    names
}

#[test]
fn sources_are_mixed_by_weight_and_gone_through_in_epochs() {
    let config = LoaderConfig {
        n_examples: Some(4 * 17),
        ..config(RowLayout::OnePerRow)
    };
    let mut loader = Loader::new(sources(), config, Prefetch::OFF).unwrap();
    let names = names(&loader.by_ref().collect::<Result<Vec<_>, _>>().unwrap());
    let mut counts = BTreeMap::new();
    for name in &names {
        *counts.entry(*name).or_insert(0) += 1;
    }
    // 3 in 4 turns are the papers': three whole epochs; 17 turns are three epochs of chats and two.
    assert!((1000..1017).all(|name| counts[&name] == 3), "{counts:?}");
    assert!((2000..2005).all(|name| counts[&name] == 3 || counts[&name] == 4));
    let state = loader.state();
    let taken: Vec<_> = state
        .sources
        .iter()
        .map(|it| (it.n_taken, it.epoch))
        .collect();
    assert_eq!(taken, [(51, 3), (17, 3)]);
    let of_epoch = |epoch: usize| -> Vec<u32> {
        let papers = names.iter().copied().filter(|&name| name < 2000);
        papers.skip(17 * epoch).take(17).collect()
    };
    assert_ne!(
        of_epoch(0),
        of_epoch(1),
        "each epoch has an order of its own"
    );
    assert_eq!(loader.statistics().batches.n_rows, 68);
}

#[test]
fn the_order_in_files_is_kept_unless_shuffled() {
    let config = LoaderConfig {
        order: Order::InOrder,
        n_examples: Some(8),
        ..config(RowLayout::OnePerRow)
    };
    let loader = Loader::new(sources(), config, Prefetch::OFF).unwrap();
    let expected = [1000, 1001, 2000, 1002, 1003, 1004, 2001, 1005];
    assert_eq!(names(&all(loader)), expected);
}

#[test]
fn packed_rows_have_one_length_and_hold_all_examples() {
    let layout = RowLayout::Packed {
        window_examples: 11,
    };
    let config = LoaderConfig {
        n_examples: Some(88),
        ..config(layout)
    };
    let batches = all(Loader::new(sources(), config, Prefetch::OFF).unwrap());
    assert!(
        batches
            .iter()
            .all(|batch| batch.input_ids.iter().all(|row| row.len() == 9))
    );
    let (last, whole) = batches.split_last().unwrap();
    assert!(whole.iter().all(|batch| batch.input_ids.len() == 3) && last.input_ids.len() <= 3);
    let mut packed = names(&batches);
    let one_per_row = LoaderConfig {
        layout: RowLayout::OnePerRow,
        ..config
    };
    let mut padded = names(&all(
        Loader::new(sources(), one_per_row, Prefetch::OFF).unwrap()
    ));
    packed.sort_unstable();
    padded.sort_unstable();
    assert_eq!(packed, padded);
}

/// A source that fails or panics at one of its examples, and counts what it was asked for.
struct Faulty {
    n_asked: Arc<AtomicUsize>,
    bad: usize,
    panics: bool,
}

impl ExampleSource for Faulty {
    fn n_examples(&self) -> usize {
        1_000_000
    }

    fn example(&self, index: usize) -> Result<Example, Source> {
        self.n_asked.fetch_add(1, Ordering::SeqCst);
        if index == self.bad {
            assert!(!self.panics, "the disk is on fire");
            return Err("the disk is full".into());
        }
        Ok(Example::from_ids(vec![1, 2]))
    }

    fn fingerprint(&self) -> u64 {
        0
    }
}

fn faulty(bad: usize, panics: bool, prefetch: Prefetch) -> (Loader, Arc<AtomicUsize>) {
    let n_asked = Arc::new(AtomicUsize::new(0));
    let source = Faulty {
        n_asked: Arc::clone(&n_asked),
        bad,
        panics,
    };
    let config = LoaderConfig {
        order: Order::InOrder,
        ..config(RowLayout::OnePerRow)
    };
    let sources = vec![WeightedSource::new("faulty", 1.0, source)];
    (Loader::new(sources, config, prefetch).unwrap(), n_asked)
}

const PREFETCHES: [Prefetch; 3] = [
    Prefetch::OFF,
    Prefetch {
        n_workers: 1,
        n_chunks: 4,
    },
    Prefetch {
        n_workers: 3,
        n_chunks: 2,
    },
];

#[test]
fn errors_and_panics_arrive_where_their_batch_would() {
    for prefetch in PREFETCHES {
        let (mut loader, _) = faulty(10, false, prefetch);
        assert!((0..3).all(|_| matches!(loader.next(), Some(Ok(_)))));
        let error = loader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "load example 10 of source `faulty`");
        assert!(loader.next().is_none(), "nothing comes after an error");
        assert_eq!((loader.state().n_batches, loader.state().chunk), (3, 3));

        let (loader, _) = faulty(10, true, prefetch);
        let error = loader.last().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "load chunk 3: the source panicked with `the disk is on fire` (hint: this is a bug in it)"
        );
    }
}

#[test]
fn dropping_a_loader_stops_its_threads() {
    for prefetch in PREFETCHES {
        let (mut loader, n_asked) = faulty(usize::MAX, false, prefetch);
        assert!(matches!(loader.next(), Some(Ok(_))));
        drop(loader);
        let after = n_asked.load(Ordering::SeqCst);
        // What is given out, waits in the channels, or is being sent: chunks of 3.
        assert!(
            after <= 3 * (1 + prefetch.n_workers * (prefetch.n_chunks + 2)),
            "{after}"
        );
        assert_eq!(
            Arc::strong_count(&n_asked),
            1,
            "the threads have let go of the source"
        );
    }
}

#[test]
fn rows_that_never_come_are_an_error() {
    for n_examples in [None, Some(10)] {
        let config = LoaderConfig {
            truncation: Truncation::Drop,
            max_len: 1,
            n_examples,
            ..config(RowLayout::OnePerRow)
        };
        let mut loader = Loader::new(sources(), config, Prefetch::OFF).unwrap();
        let error = loader.next().unwrap().unwrap_err();
        assert!(matches!(error, LoaderError::NoRows { .. }), "{error}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let new = |sources, config| Loader::new(sources, config, Prefetch::OFF).unwrap_err();
    let zero = LoaderConfig {
        batch_size: 0,
        ..config(RowLayout::OnePerRow)
    };
    insta::assert_snapshot!(new(sources(), zero), @"make a loader: expected `batch_size` of at least 1, found 0 (hint: set it in the config)");
    let config = config(RowLayout::Packed { window_examples: 4 });
    let beyond = LoaderConfig {
        shard: RankShard {
            rank: 2,
            n_ranks: 2,
        },
        ..config
    };
    insta::assert_snapshot!(new(sources(), beyond), @"make a loader: expected `rank` below `n_ranks`, found 2 (hint: set it in the config)");
    let empty = vec![WeightedSource::new("none", 1.0, Vec::<Example>::new())];
    insta::assert_snapshot!(new(empty, config), @"make a loader: expected examples in source `none`, found none (hint: is the corpus empty, or shorter than one block?)");
    let twice = [sources(), sources()].concat();
    insta::assert_snapshot!(new(twice, config), @"make a loader: expected a name of its own for each source, found `papers` twice (hint: states are saved by name)");
    let many = Prefetch {
        n_workers: 5000,
        n_chunks: 1,
    };
    let error = Loader::new(sources(), config, many).unwrap_err();
    assert!(matches!(
        error,
        LoaderError::BadSetting {
            name: "n_workers",
            ..
        }
    ));
}

#[test]
fn a_state_fits_only_what_it_was_saved_over() {
    let config = config(RowLayout::Packed { window_examples: 4 });
    let mut loader = Loader::new(sources(), config, Prefetch::OFF).unwrap();
    assert!(matches!(loader.next(), Some(Ok(_))));
    let state = loader.state();
    let resume =
        |sources, state: &LoaderState| Loader::resume(sources, state, Prefetch::OFF).unwrap_err();
    let mut other = sources();
    other[1] = WeightedSource::new("chats", 1.0, corpus(3000, 5));
    let error = resume(other, &state);
    assert!(
        matches!(error, LoaderError::OtherSource { ref name, .. } if name == "chats"),
        "{error}"
    );
    let mut fewer = sources();
    fewer[0] = WeightedSource::new("papers", 3.0, corpus(1000, 16));
    insta::assert_snapshot!(resume(fewer, &state), @"resume the loader: expected source `papers` with 17 examples, found 16 examples (hint: resume with the files that the state was saved over, or begin anew)");
    let mut turned = sources();
    turned.reverse();
    insta::assert_snapshot!(resume(turned, &state), @"resume the loader: expected the sources `papers`, `chats`, found `chats`, `papers` (hint: give them in the order in which the state was saved)");
    let old = LoaderState {
        version: 0,
        ..state.clone()
    };
    assert!(matches!(
        resume(sources(), &old),
        LoaderError::StateVersion { found: 0, .. }
    ));
    let edited = LoaderState {
        row: 999,
        ..state.clone()
    };
    let mut loader = Loader::resume(sources(), &edited, Prefetch::OFF).unwrap();
    let error = loader.next().unwrap().unwrap_err();
    assert!(
        matches!(error, LoaderError::StatePlace { row: 999, .. }),
        "{error}"
    );
    // However far it is, a place is a place.
    let far = LoaderState {
        chunk: u64::MAX - 1,
        row: 0,
        ..state
    };
    assert!(
        Loader::resume(sources(), &far, Prefetch::OFF).is_ok_and(|loader| loader.state().chunk > 1)
    );
}

fn layouts() -> impl Strategy<Value = RowLayout> {
    let packed = (1_usize..30).prop_map(|window_examples| RowLayout::Packed { window_examples });
    prop_oneof![Just(RowLayout::OnePerRow), packed]
}

fn truncations() -> impl Strategy<Value = Truncation> {
    prop_oneof![
        Just(Truncation::KeepStart),
        Just(Truncation::KeepEnd),
        Just(Truncation::Drop),
        Just(Truncation::Windows { overlap_tokens: 1 }),
    ]
}

fn prefetches() -> impl Strategy<Value = Prefetch> {
    (0_usize..4, 0_usize..4).prop_map(|(n_workers, n_chunks)| Prefetch {
        n_workers,
        n_chunks,
    })
}

prop_compose! {
    fn configs()(
        layout in layouts(),
        truncation in truncations(),
        batch_size in 1_usize..6,
        max_len in 3_usize..9,
        seed: u64,
        n_ranks in 1_usize..4,
        rank_seed: usize,
        n_examples in 1_u64..120,
    ) -> LoaderConfig {
        LoaderConfig {
            batch_size,
            max_len,
            pad_id: 0,
            layout,
            truncation,
            order: Order::Shuffled { seed },
            shard: RankShard { rank: rank_seed % n_ranks, n_ranks },
            n_examples: Some(n_examples),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_resumed_run_gives_the_remaining_batches(
        config in configs(),
        prefetch in prefetches(),
        other_prefetch in prefetches(),
        stop in 0_usize..40,
    ) {
        let whole: Result<Vec<PackedBatch>, _> =
            Loader::new(sources(), config, Prefetch::OFF).unwrap().collect();
        let Ok(whole) = whole else {
            return Ok(()); // Every example was dropped.
        };
        let stop = stop.min(whole.len());
        let mut interrupted = Loader::new(sources(), config, prefetch).unwrap();
        let mut batches: Vec<PackedBatch> = interrupted.by_ref().take(stop).map(Result::unwrap).collect();
        let saved = serde_json::to_string(&interrupted.state()).unwrap();
        drop(interrupted);
        let state: LoaderState = serde_json::from_str(&saved).unwrap();
        prop_assert_eq!(state.n_batches, stop as u64);
        let resumed = Loader::resume(sources(), &state, other_prefetch).unwrap();
        batches.extend(all(resumed));
        prop_assert_eq!(batches, whole);
    }

    #[test]
    fn ranks_share_the_examples_out(config in configs(), n_ranks in 1_usize..5) {
        let config = LoaderConfig { truncation: Truncation::KeepStart, ..config };
        let of_rank = |rank, n_ranks| {
            let config = LoaderConfig { shard: RankShard { rank, n_ranks }, ..config };
            names(&all(Loader::new(sources(), config, Prefetch::OFF).unwrap()))
        };
        let mut whole = of_rank(0, 1);
        let mut parts: Vec<u32> = (0..n_ranks).flat_map(|rank| of_rank(rank, n_ranks)).collect();
        whole.sort_unstable();
        parts.sort_unstable();
        prop_assert_eq!(whole.len() as u64, config.n_examples.unwrap());
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn endless_ranks_have_equally_many_batches(seed: u64, n_ranks in 1_usize..4) {
        let config = LoaderConfig { order: Order::Shuffled { seed }, ..config(RowLayout::OnePerRow) };
        let mut seen = BTreeMap::new();
        for rank in 0..n_ranks {
            let config = LoaderConfig { shard: RankShard { rank, n_ranks }, ..config };
            let sources = vec![WeightedSource::new("papers", 1.0, corpus(1, 18))];
            let loader = Loader::new(sources, config, PREFETCHES[1]).unwrap();
            // Together, six batches of three are one epoch for each rank.
            let batches: Vec<_> = loader.take(6).map(Result::unwrap).collect();
            prop_assert_eq!(batches.len(), 6);
            for name in names(&batches) {
                *seen.entry(name).or_insert(0) += 1;
            }
        }
        prop_assert_eq!(seen.len(), 18);
        prop_assert!(seen.values().all(|&count| count == n_ranks));
    }
}
