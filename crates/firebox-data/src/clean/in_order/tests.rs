use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use proptest::prelude::*;

use super::in_order;

/// Numbers that take unequal time; those in `bad` are errors.
fn run(n_threads: usize, n: u64, bad: &[u64]) -> (Vec<u64>, Result<(), u64>) {
    let mut committed = Vec::new();
    let result = in_order(
        n_threads,
        (0..n).map(Ok),
        |item| {
            sleep(Duration::from_micros(item * 7919 % 97));
            if bad.contains(&item) {
                Err(item)
            } else {
                Ok(item)
            }
        },
        |item| {
            committed.push(item);
            Ok(())
        },
    );
    (committed, result)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn results_come_in_order_up_to_the_first_error(
        n_threads in 1_usize..5, n in 0_u64..200, bad in prop::collection::vec(0_u64..400, 0..3),
    ) {
        let (committed, result) = run(n_threads, n, &bad);
        let first = bad.iter().copied().filter(|bad| *bad < n).min();
        prop_assert_eq!(committed, (0..first.unwrap_or(n)).collect::<Vec<_>>());
        prop_assert_eq!(result.err(), first);
    }
}

#[test]
fn few_items_are_under_way_while_one_is_slow() {
    let most = AtomicUsize::new(0);
    let taken = AtomicUsize::new(0);
    in_order(
        2,
        (0..100).map(|item| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok::<i32, ()>(item)
        }),
        |item| {
            if item == 0 {
                sleep(Duration::from_millis(50));
                most.store(taken.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            Ok(item)
        },
        |_| Ok(()),
    )
    .unwrap();
    assert!(
        (1..=9).contains(&most.into_inner()),
        "taken while the first was worked on"
    );
}

#[test]
fn a_failed_commit_ends_it() {
    let mut n_committed = 0;
    let result = in_order(3, (0..1000).map(Ok), Ok, |item: u32| {
        n_committed += 1;
        if item == 10 { Err("full") } else { Ok(()) }
    });
    assert_eq!(result, Err("full"));
    assert_eq!(n_committed, 11);
}

#[test]
#[should_panic(expected = "a scoped thread panicked")]
fn a_panic_of_another_thread_comes_out() {
    let this = std::thread::current().id();
    let _ = in_order(
        4,
        (0..1000).map(Ok::<u32, ()>),
        |item| {
            if std::thread::current().id() != this {
                panic!("in a worker");
            }
            sleep(Duration::from_millis(1));
            Ok(item)
        },
        |_| Ok(()),
    );
}
