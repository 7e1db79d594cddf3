use proptest::prelude::*;

use super::*;
use crate::dedup::fingerprint::Fingerprinter;
use crate::dedup::planted;
use crate::{MinHashConfig, MinHasher, deduplicate};

fn clusters(texts: &[String], config: &DedupConfig, folder: Option<&Path>) -> Clusters {
    let fingerprinter = Fingerprinter::new(config).unwrap();
    let mut duplicates = Duplicates::new(config, folder).unwrap();
    for text in texts {
        let facts = DocumentFacts {
            n_bytes: text.len() as u64,
            year: None,
        };
        duplicates
            .push(&fingerprinter.fingerprint(text), facts)
            .unwrap();
    }
    duplicates.finish().unwrap()
}

/// Short texts, a third of them equal or similar to earlier ones, some empty.
fn corpus(n: u64) -> Vec<String> {
    let text_of = |i: u64| -> String {
        let words = planted::text(i / 3 * 3);
        let words = match i % 30 {
            7 => return String::new(),
            4 | 13 | 16 => planted::copy(&words, i, 1 + (i / 30 % 2) as usize),
            _ if i % 3 == 1 && i.is_multiple_of(5) => words,
            _ => planted::text(i),
        };
        words[..40].join(" ")
    };
    (0..n).map(text_of).collect()
}

fn in_pool<R: Send>(n_threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
        .unwrap();
    pool.install(work)
}

#[test]
fn clusters_are_equal_with_one_two_and_three_threads_in_memory_and_spilled() {
    let texts = corpus(6000);
    let folder = tempfile::tempdir().unwrap();
    for least in [0.0, 0.7] {
        let mut config = DedupConfig {
            memory_bytes: 1 << 20,
            ..DedupConfig::default()
        };
        config.near.min_estimated_jaccard = least;
        let expected = in_pool(1, || clusters(&texts, &config, None));
        assert!(expected.n_exact() > 100);
        assert!(expected.n_documents() - expected.n_kept() - expected.n_exact() > 100);
        assert_eq!(expected.n_rejected() > 0, least > 0.0);
        for n_threads in [1, 2, 3] {
            in_pool(n_threads, || {
                assert_eq!(deduplicate(&texts, &config).unwrap(), expected);
                assert_eq!(clusters(&texts, &config, Some(folder.path())), expected);
            });
        }
    }
    assert_eq!(
        folder.path().read_dir().unwrap().count(),
        0,
        "no file is left"
    );
}

proptest! {
    /// Documents that share a hash, and those reached through others, are one cluster.
    #[test]
    fn clusters_are_the_components_of_equal_hashes(
        hashes in proptest::collection::vec((0_u128..40, proptest::array::uniform2(0_u64..40)), 1..60)
    ) {
        let near = MinHashConfig { n_bands: 2, n_rows: 1, ..MinHashConfig::default() };
        let config = DedupConfig { near, ..DedupConfig::default() };
        let mut duplicates = Duplicates::new(&config, None).unwrap();
        for (exact, bands) in &hashes {
            let fingerprint = Fingerprint::from_hashes(*exact, bands);
            duplicates.push(&fingerprint, DocumentFacts::default()).unwrap();
        }
        let clusters = duplicates.finish().unwrap();
        let alike = |a: usize, b: usize| {
            let ((left, left_bands), (right, right_bands)) = (hashes[a], hashes[b]);
            left == right || left_bands.iter().zip(right_bands).any(|(l, r)| *l == r)
        };
        let mut roots: Vec<usize> = (0..hashes.len()).collect();
        for _ in 0..hashes.len() {
            for a in 0..hashes.len() {
                for b in (0..hashes.len()).filter(|b| alike(a, *b)) {
                    roots[a] = roots[a].min(roots[b]);
                }
            }
        }
        for (document, root) in roots.into_iter().enumerate() {
            prop_assert_eq!(clusters.kept_for(document as u64), root as u64);
        }
    }
}

/// Of 1,000 pairs each, the number found is within five standard deviations of the binomial with the
/// probability of the bands; a right program fails one of the ten checks with a chance below 1e-5.
#[test]
fn planted_copies_are_found_at_the_rate_of_the_bands() {
    const N_PAIRS: usize = 1000;
    let config = DedupConfig::default();
    for n_changed in [2, 4, 8, 12, 14, 16, 18, 20, 24, 27] {
        let mut texts = Vec::new();
        for seed in 0..N_PAIRS as u64 {
            let words = planted::text(seed * 1000 + n_changed as u64);
            texts.push(words.join(" "));
            texts.push(planted::copy(&words, seed, n_changed).join(" "));
        }
        let clusters = deduplicate(&texts, &config).unwrap();
        for duplicate in clusters.dropped() {
            assert_eq!(
                (duplicate.document, duplicate.kept + 1),
                (duplicate.kept | 1, duplicate.document)
            );
        }
        let n_found = clusters.dropped().count() as f64;
        let jaccard = planted::jaccard(n_changed);
        let rate = config.near.detection_rate(jaccard);
        let deviation = (N_PAIRS as f64 * rate * (1.0 - rate)).sqrt();
        let difference = (n_found - N_PAIRS as f64 * rate).abs();
        assert!(
            difference <= 5.0 * deviation + 1.0,
            "found {n_found} of {N_PAIRS} at Jaccard {jaccard:.3}, expected {rate:.3} of them"
        );
    }
}

/// Each text is like the next, but the first and the last are not alike.
fn chain() -> Vec<String> {
    let mut words = planted::text(77);
    let mut texts = vec![words.join(" ")];
    for link in 1..6 {
        for i in 0..6 {
            words[4 + 5 * (6 * link + i)] = planted::word(10_000 + 6 * link as u64 + i as u64);
        }
        texts.push(words.join(" "));
    }
    texts
}

#[test]
fn a_chain_is_one_cluster_unless_pairs_are_checked() {
    let texts = chain();
    let config = DedupConfig::default();
    let hasher = MinHasher::new(&config.near).unwrap();
    assert!(hasher.jaccard(&texts[0], &texts[5]) < 0.5);
    let merged = deduplicate(&texts, &config).unwrap();
    assert_eq!(merged.n_kept(), 1);

    let fingerprinter = Fingerprinter::new(&config).unwrap();
    let mut duplicates = Duplicates::new(&config, None).unwrap();
    for text in &texts {
        duplicates
            .push(&fingerprinter.fingerprint(text), DocumentFacts::default())
            .unwrap();
    }
    let same = |a: u64, b: u64| hasher.jaccard(&texts[a as usize], &texts[b as usize]) > 0.99;
    let checked = duplicates.finish_checked(same).unwrap();
    assert_eq!(checked.n_kept(), 6);
    assert!(checked.n_rejected() > 0);
}

#[test]
fn equal_texts_are_exact_duplicates_and_empty_ones_too() {
    let texts = ["A fire.", "", "a  FIRE.", " \n", "A fire!"].map(str::to_owned);
    let exact = DedupConfig {
        find: Find::Exact,
        ..DedupConfig::default()
    };
    let clusters_exact = clusters(&texts, &exact, None);
    let kept: Vec<u64> = (0..5).map(|i| clusters_exact.kept_for(i)).collect();
    assert_eq!(kept, [0, 1, 0, 1, 4]);
    assert_eq!(clusters_exact.n_exact(), 2);
    // The punctuation of the last text is no part of its n-grams.
    let near = clusters(&texts, &DedupConfig::default(), None);
    assert_eq!((near.kept_for(4), near.n_exact()), (0, 2));
}

#[test]
fn the_rule_says_which_document_stays() {
    let kept = |keep: KeepRule| -> Vec<u64> {
        let config = DedupConfig {
            keep,
            ..DedupConfig::default()
        };
        let fingerprinter = Fingerprinter::new(&config).unwrap();
        let mut duplicates = Duplicates::new(&config, None).unwrap();
        let documents = [
            ("a b c", Some(1990)),
            ("a b  c", None),
            ("A B C", Some(2001)),
            ("x", None),
        ];
        for (text, year) in documents {
            let facts = DocumentFacts {
                n_bytes: text.len() as u64,
                year,
            };
            duplicates
                .push(&fingerprinter.fingerprint(text), facts)
                .unwrap();
        }
        let clusters = duplicates.finish().unwrap();
        (0..4).map(|i| clusters.kept_for(i)).collect()
    };
    assert_eq!(kept(KeepRule::First), [0, 0, 0, 3]);
    assert_eq!(kept(KeepRule::Longest), [1, 1, 1, 3]);
    assert_eq!(kept(KeepRule::Newest), [2, 2, 2, 3]);
}

#[test]
fn a_fingerprint_of_another_config_is_refused() {
    let exact = DedupConfig {
        find: Find::Exact,
        ..DedupConfig::default()
    };
    let fingerprint = Fingerprinter::new(&DedupConfig::default())
        .unwrap()
        .fingerprint("A fire.");
    let mut duplicates = Duplicates::new(&exact, None).unwrap();
    let error = duplicates
        .push(&fingerprint, DocumentFacts::default())
        .unwrap_err();
    insta::assert_snapshot!(error, @"add document 0: expected a fingerprint with 0 bands and no signature, found 14 bands and no signature (hint: make fingerprints and clusters from the same config)");
}
