//! Permutations computed place by place: complete, repeatable, even.

use proptest::prelude::*;

use super::Permutation;

fn items(n_items: u64, seed: u64) -> Vec<u64> {
    let order = Permutation::new(n_items, seed);
    (0..n_items).map_while(|place| order.get(place)).collect()
}

#[test]
fn every_place_is_equally_likely() {
    let mut counts = [[0_u32; 5]; 5];
    for seed in 0..10_000 {
        for (place, item) in items(5, seed).into_iter().enumerate() {
            counts[place][item as usize] += 1;
        }
    }
    // 2000 expected, standard deviation 40: five of them.
    let is_even = |count: &u32| (1800..2200).contains(count);
    assert!(counts.as_flattened().iter().all(is_even), "{counts:?}");
}

#[test]
fn neighbours_are_torn_apart() {
    // Of 100,000 random places, about one pair has neighbouring items: at most ten.
    let items = items(100_000, 7);
    let n_adjacent = items
        .windows(2)
        .filter(|pair| pair[1] == pair[0] + 1)
        .count();
    assert!(n_adjacent <= 10, "{n_adjacent} neighbours stayed together");
    // Nor do they stay in the same part: the mean distance of two random places is a third.
    let distance: f64 = items
        .windows(2)
        .map(|pair| pair[0].abs_diff(pair[1]) as f64)
        .sum();
    let mean = distance / 99_999.0 / 100_000.0;
    // The standard error is 0.236 / sqrt(99,999) = 0.00075: four of them.
    assert!((mean - 1.0 / 3.0).abs() < 0.003, "{mean}");
}

#[test]
fn the_largest_domains_work() {
    for n_items in [u64::MAX, 1 << 63, (1 << 63) + 1, (1 << 32) + 1] {
        let order = Permutation::new(n_items, 3);
        let (first, last) = (order.get(0), order.get(n_items - 1));
        assert!(first < Some(n_items) && first.is_some() && first != last);
        assert_eq!(order.get(n_items), None);
    }
    assert_eq!(Permutation::new(0, 1).get(0), None);
}

#[test]
fn an_order_stays_what_it_was() {
    // Saved states of the loader rely on it.
    assert_eq!(items(8, 1), [5, 6, 2, 4, 7, 3, 0, 1]);
}

proptest! {
    #[test]
    fn a_permutation_is_a_bijection(n_items in 0_u64..3000, seed: u64) {
        let mut sorted = items(n_items, seed);
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..n_items).collect::<Vec<_>>());
    }

    #[test]
    fn seeds_give_different_orders(n_items in 50_u64..500, seed: u64, other: u64) {
        prop_assume!(seed != other);
        prop_assert_ne!(items(n_items, seed), items(n_items, other));
        prop_assert_eq!(items(n_items, seed), items(n_items, seed));
    }
}
