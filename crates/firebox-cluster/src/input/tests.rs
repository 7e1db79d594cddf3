use proptest::prelude::*;

use super::{InputFile, share_out};

fn files(sizes: &[u64]) -> Vec<InputFile> {
    let file = |(index, &n_bytes): (usize, &u64)| InputFile {
        index: index as u32,
        url: format!("file:///data/{index}.jsonl"),
        n_bytes,
    };
    sizes.iter().enumerate().map(file).collect()
}

proptest! {
    #[test]
    fn every_file_is_in_one_share_and_shares_are_within_graham_s_bound(
        sizes in prop::collection::vec(0_u64..1000, 0..40),
        n_tasks in 1_usize..9,
    ) {
        let files = files(&sizes);
        let shares = share_out(&files, n_tasks);
        let mut seen: Vec<u32> = shares.iter().flatten().map(|file| file.index).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..files.len() as u32).collect::<Vec<_>>());
        // The best there could be is no better than the mean and the largest file.
        let cost = |file: &InputFile| file.n_bytes + 1;
        let total: u64 = files.iter().map(cost).sum();
        let best = (total as f64 / n_tasks as f64).max(files.iter().map(cost).max().unwrap_or(0) as f64);
        let largest: u64 = shares.iter().map(|share| share.iter().map(cost).sum()).max().unwrap_or(0);
        prop_assert!(largest as f64 <= 2.0 * best);
    }
}

#[test]
fn a_share_is_read_in_the_order_of_the_input() {
    let shares = share_out(&files(&[5, 100, 7, 3, 90]), 2);
    for share in shares {
        assert!(share.is_sorted_by_key(|file| file.index), "{share:?}");
    }
}
