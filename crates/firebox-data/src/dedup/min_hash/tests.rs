use std::collections::HashSet;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::dedup::n_grams::mix;
use crate::dedup::planted;

/// Strings, one n-gram and one permutation at a time.
fn reference_signature(text: &str, config: &MinHashConfig) -> Vec<u32> {
    let words: Vec<String> = text
        .to_lowercase()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let n = config.n_gram.min(words.len());
    let hash_of = |n_gram: &[String]| {
        let sum = n_gram.iter().fold(0_u64, |sum, word| {
            let shifted = u128::from(sum) * 0x9E37_79B9_7F4A_7C15 % (1 << 64);
            (shifted as u64).wrapping_add(xxh3_64(word.as_bytes()))
        });
        (mix(sum) >> 32) as u32
    };
    if n == 0 {
        return Vec::new();
    }
    let set: HashSet<u32> = words.windows(n).map(hash_of).collect();
    let permutations = Permutations::new(config.n_hashes(), config.seed);
    let mut minima = vec![u32::MAX; config.n_hashes()];
    for hash in set {
        for (least, value) in minima.iter_mut().zip(permutations.minima(&[hash])) {
            *least = value.min(*least);
        }
    }
    minima
}

proptest! {
    #[test]
    fn signatures_are_those_of_the_reference(
        text in "([a-zA-Z]{1,12} {1,2}){0,40}",
        n_gram in 1_usize..8,
        seed in any::<u64>(),
    ) {
        let config = MinHashConfig { n_gram, seed, ..MinHashConfig::default() };
        let hasher = MinHasher::new(&config).unwrap();
        let expected = reference_signature(&text, &config);
        let signature = hasher.signature(&text);
        prop_assert_eq!(signature.minima(), &expected[..]);
    }
}

#[test]
fn a_text_without_words_has_no_bands_and_a_short_one_has_all() {
    let hasher = MinHasher::new(&MinHashConfig::default()).unwrap();
    let bands = |text: &str| hasher.band_hashes(&hasher.signature(text)).as_slice().len();
    assert_eq!(bands(""), 0);
    assert_eq!(bands(" .. "), 0);
    assert_eq!(bands("fire"), 14);
    assert_eq!(bands("火"), 14);
}

#[test]
fn bands_are_equal_where_their_rows_are() {
    let config = MinHashConfig::default();
    let hasher = MinHasher::new(&config).unwrap();
    let words = planted::text(3);
    let left = hasher.signature(&words.join(" "));
    let right = hasher.signature(&planted::copy(&words, 3, 10).join(" "));
    let rows = |signature: &Signature| -> Vec<Vec<u32>> {
        signature
            .minima()
            .chunks(config.n_rows)
            .map(<[u32]>::to_vec)
            .collect()
    };
    let (left_bands, right_bands) = (hasher.band_hashes(&left), hasher.band_hashes(&right));
    let mut n_equal = 0;
    for (band, (l, r)) in rows(&left).into_iter().zip(rows(&right)).enumerate() {
        let equal = left_bands.as_slice()[band] == right_bands.as_slice()[band];
        assert_eq!(equal, l == r, "band {band}");
        n_equal += usize::from(equal);
    }
    assert!(
        (1..14).contains(&n_equal),
        "{n_equal} of 14 bands, a poor example"
    );
}

#[test]
fn jaccard_counts_shared_n_grams() {
    let hasher = MinHasher::new(&MinHashConfig {
        n_gram: 2,
        ..MinHashConfig::default()
    })
    .unwrap();
    assert_eq!(hasher.jaccard("a b c d", "x b c d"), 2.0 / 4.0);
    assert_eq!(hasher.jaccard("a b a b", "a b a"), 1.0);
    assert_eq!(hasher.jaccard("a b", "c d"), 0.0);
    assert_eq!(hasher.jaccard("", "!"), 1.0);
    assert_eq!(hasher.jaccard("", "a"), 0.0);
}

#[test]
fn planted_copies_have_the_jaccard_similarity_they_were_made_with() {
    let hasher = MinHasher::new(&MinHashConfig::default()).unwrap();
    for n_changed in [0, 2, 20, 80] {
        let words = planted::text(9);
        let copy = planted::copy(&words, 9, n_changed).join(" ");
        assert_eq!(
            hasher.jaccard(&words.join(" "), &copy),
            planted::jaccard(n_changed)
        );
    }
}

/// The mean over 200 pairs of the share of 112 equal minima has a standard error of at most
/// `sqrt(0.25 / (112 * 200)) = 0.0033`, if minima are independent; five of those are allowed.
#[test]
fn estimates_are_the_jaccard_similarity_on_average() {
    let hasher = MinHasher::new(&MinHashConfig::default()).unwrap();
    for n_changed in [5, 27, 60] {
        let estimate = |seed| {
            let words = planted::text(seed);
            let copy = planted::copy(&words, seed, n_changed).join(" ");
            let left = hasher.signature(&words.join(" "));
            left.estimated_jaccard(&hasher.signature(&copy))
        };
        let mean = (0..200).map(estimate).sum::<f64>() / 200.0;
        let expected = planted::jaccard(n_changed);
        assert!(
            (mean - expected).abs() < 5.0 * 0.0033,
            "{mean}, expected {expected}"
        );
    }
}
