use proptest::prelude::*;

use super::*;

fn sorted<K: Key>(keyed: KeyedDocuments<K>, folder: &Path) -> Vec<(K, u32)> {
    let mut sorted = keyed.into_sorted(folder, 0).unwrap();
    let mut pairs = Vec::new();
    while let Some(pair) = sorted.next().unwrap() {
        pairs.push(pair);
    }
    pairs
}

proptest! {
    #[test]
    fn runs_in_a_file_are_merged_into_the_sorted_whole(
        keys in proptest::collection::vec(0_u128..50, 0..3000),
        run_len in 1_usize..1000,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut spilled, mut in_memory) = (KeyedDocuments::new(), KeyedDocuments::new());
        for (document, &key) in (0..).zip(&keys) {
            spilled.push(key, document);
            in_memory.push(key, document);
            if (document as usize + 1).is_multiple_of(run_len) {
                spilled.spill(folder.path()).unwrap();
            }
        }
        let mut expected: Vec<(u128, u32)> = keys.into_iter().zip(0..).collect();
        expected.sort_unstable();
        prop_assert_eq!(&sorted(spilled, folder.path()), &expected);
        prop_assert_eq!(&sorted(in_memory, folder.path()), &expected);
    }
}

#[test]
fn keys_survive_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut keyed = KeyedDocuments::<u64>::new();
    for key in [u64::MAX, 0, 0x0123_4567_89AB_CDEF] {
        keyed.push(key, u32::MAX - 1);
        keyed.spill(folder.path()).unwrap();
    }
    let keys: Vec<u64> = sorted(keyed, folder.path())
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, [0, 0x0123_4567_89AB_CDEF, u64::MAX]);
}

#[test]
fn a_missing_folder_is_named() {
    let mut keyed = KeyedDocuments::<u64>::new();
    keyed.push(1, 0);
    let error = keyed.spill(Path::new("no/such/folder")).unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}
