use proptest::prelude::*;

use super::*;
use crate::dedup::simplify::{Simplification, Simplifier};

/// The definition: a sum of powers, taken anew for each n-gram.
fn reference(words: &[u64]) -> u64 {
    let power = |exponent: usize| MULTIPLIER.wrapping_pow(exponent as u32);
    let terms = words.iter().rev().enumerate();
    mix(terms.fold(0, |sum: u64, (i, word)| {
        sum.wrapping_add(word.wrapping_mul(power(i)))
    }))
}

fn hashes(text: &str, n: usize) -> Vec<u64> {
    NGrams::new(n).of_text(&Simplifier::new(&Simplification::default()).simplify(text))
}

proptest! {
    #[test]
    fn rolled_hashes_are_those_of_the_definition(
        words in proptest::collection::vec(any::<u64>(), 0..40),
        n in 1_usize..20,
    ) {
        let expected: Vec<u64> = words.windows(n).map(reference).collect();
        prop_assert_eq!(NGrams::new(n).of_words(&words).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn texts_shorter_than_an_n_gram_are_one() {
    assert!(hashes("", 5).is_empty());
    assert_eq!(hashes("one two", 5).len(), 1);
    assert_eq!(hashes("one two three four five", 5).len(), 1);
    assert_eq!(hashes("one two three four five six", 5).len(), 2);
    assert_eq!(hashes("one two", 5), hashes("One, two!", 5));
}

#[test]
fn the_order_of_words_matters() {
    assert_ne!(hashes("one two three", 3), hashes("three two one", 3));
    assert_ne!(hashes("a a b", 3), hashes("a b b", 3));
}

#[test]
fn a_million_n_grams_do_not_collide() {
    let words: Vec<u64> = (0..1_000_004)
        .map(|i| xxh3_64(&u32::to_le_bytes(i)))
        .collect();
    let mut hashes: Vec<u64> = NGrams::new(5).of_words(&words).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 1_000_000);
}
