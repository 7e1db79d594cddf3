use proptest::prelude::*;
use rayon::prelude::*;

use super::*;

/// Spreads the least number along the pairs until nothing changes.
fn reference(n: u32, pairs: &[(u32, u32)]) -> Vec<u32> {
    let mut roots: Vec<u32> = (0..n).collect();
    loop {
        let before = roots.clone();
        for &(left, right) in pairs {
            let least = roots[left as usize].min(roots[right as usize]);
            roots[left as usize] = least;
            roots[right as usize] = least;
        }
        if roots == before {
            return roots;
        }
    }
}

fn n_and_pairs() -> impl Strategy<Value = (u32, Vec<(u32, u32)>)> {
    (1_u32..300).prop_flat_map(|n| {
        let pairs = proptest::collection::vec((0..n, 0..n), 0..400);
        (Just(n), pairs)
    })
}

proptest! {
    #[test]
    fn sets_joined_on_three_threads_are_those_of_the_reference((n, pairs) in n_and_pairs()) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let sets = UnionFind::new(n);
        let n_joined = pool.install(|| {
            let joins = pairs.par_iter().with_max_len(1);
            joins.filter(|(left, right)| sets.join(*left, *right)).count()
        });
        let roots = sets.into_roots();
        let n_sets = roots.iter().enumerate().filter(|(i, root)| *i == **root as usize).count();
        prop_assert_eq!(n_joined, n as usize - n_sets);
        prop_assert_eq!(roots, reference(n, &pairs));
    }
}

#[test]
fn a_long_chain_ends_at_its_least_number() {
    let sets = UnionFind::new(100_000);
    (1..100_000_u32).into_par_iter().for_each(|i| {
        sets.join(i, i - 1);
    });
    assert!(sets.into_roots().iter().all(|root| *root == 0));
}
