use proptest::prelude::*;

use super::*;

/// One permutation and one hash after the other.
fn reference(permutations: &Permutations, hashes: &[u32]) -> Vec<u32> {
    let parameters = permutations.multipliers.iter().zip(&permutations.offsets);
    let least = |(a, b): (&u32, &u32)| {
        let values = hashes.iter().map(|hash| {
            let value = u64::from(*a) * u64::from(*hash) + u64::from(*b);
            (value % (1 << 32)) as u32
        });
        values.min().unwrap_or(u32::MAX)
    };
    parameters
        .take(permutations.n_permutations)
        .map(least)
        .collect()
}

proptest! {
    #[test]
    fn minima_are_those_of_the_plain_loop(
        hashes in proptest::collection::vec(any::<u32>(), 0..50),
        n_permutations in 1_usize..150,
        seed in any::<u64>(),
    ) {
        let permutations = Permutations::new(n_permutations, seed);
        let expected = reference(&permutations, &hashes);
        prop_assert_eq!(permutations.minima(&hashes).to_vec(), expected);
    }
}

#[test]
fn each_is_a_permutation_of_its_own() {
    let permutations = Permutations::new(512, 1);
    assert!(permutations.multipliers.iter().all(|a| a % 2 == 1));
    let mut multipliers = permutations.multipliers.clone();
    multipliers.sort_unstable();
    multipliers.dedup();
    assert_eq!(multipliers.len(), 512);
    assert_ne!(multipliers, Permutations::new(512, 2).multipliers);
}
