//! Permutations: complete, repeatable, different.

use proptest::prelude::*;

use super::{EpochOrder, SplitMix64, permutation};
use crate::Order;

#[test]
fn the_generator_gives_the_published_numbers() {
    // The first outputs of the reference implementation for seed 1234567,
    // <https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64>.
    let mut random = SplitMix64 { state: 1_234_567 };
    assert_eq!(random.next(), 6_457_827_717_110_365_317);
    assert_eq!(random.next(), 3_203_168_211_198_807_973);
}

#[test]
fn seeds_and_epochs_change_the_order() {
    let first = permutation(100, 1, 0);
    assert_eq!(permutation(100, 1, 0), first);
    assert_ne!(permutation(100, 1, 1), first);
    assert_ne!(permutation(100, 2, 0), first);
    assert_ne!(permutation(100, 0, 1), permutation(100, 1, 0));
}

#[test]
fn every_place_is_equally_likely() {
    let mut counts = [[0_u32; 5]; 5];
    for seed in 0..10_000 {
        for (place, item) in permutation(5, seed, 0).into_iter().enumerate() {
            counts[place][item] += 1;
        }
    }
    // 2000 expected, standard deviation 40: five of them.
    assert!(
        counts
            .as_flattened()
            .iter()
            .all(|&count| (1800..2200).contains(&count)),
        "{counts:?}"
    );
}

#[test]
fn epochs_may_be_asked_for_in_any_order() {
    let orders = EpochOrder::new(7, Order::Shuffled { seed: 3 });
    let whole = |epoch| orders.items(epoch, 0..7);
    let (first, second) = (whole(0), whole(1));
    assert_eq!(whole(1), second);
    assert_eq!(whole(0), first);
    assert_eq!(orders.items(1, 2..4), second[2..4]);
    assert_eq!(EpochOrder::new(7, Order::InOrder).items(9, 2..4), [2, 3]);
}

proptest! {
    #[test]
    fn a_permutation_visits_each_item_once(n_items in 0_usize..300, seed: u64, epoch: u64) {
        let mut items = permutation(n_items, seed, epoch);
        items.sort_unstable();
        prop_assert_eq!(items, (0..n_items).collect::<Vec<_>>());
    }
}
