//! Texts whose similarity is known, for the tests.

use super::n_grams::mix;

/// Words in a text: 400 n-grams of five.
pub(super) const N_WORDS: usize = 404;

/// A word of letters for a number; different words for different numbers.
pub(super) fn word(mut number: u64) -> String {
    let mut letters = String::new();
    for _ in 0..14 {
        letters.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    letters
}

/// A text of random words.
pub(super) fn text(seed: u64) -> Vec<String> {
    (0..N_WORDS as u64)
        .map(|i| word(mix(mix(seed) ^ i)))
        .collect()
}

/// A copy in which `n_changed` words, each five from the next, are others. With 400 n-grams of five words,
/// `400 - 5 n_changed` are in both texts and `400 + 5 n_changed` in either.
pub(super) fn copy(words: &[String], seed: u64, n_changed: usize) -> Vec<String> {
    let mut copy = words.to_vec();
    for i in 0..n_changed {
        copy[4 + 5 * i] = word(mix(mix(seed ^ 0x5EED) ^ i as u64));
    }
    copy
}

/// The Jaccard similarity of a text and its copy.
pub(super) fn jaccard(n_changed: usize) -> f64 {
    (400.0 - 5.0 * n_changed as f64) / (400.0 + 5.0 * n_changed as f64)
}
