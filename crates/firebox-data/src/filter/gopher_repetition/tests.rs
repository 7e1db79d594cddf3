use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::super::words::{Segmenter, Word, split_words};
use super::NGrams;

fn words(text: &str) -> Vec<Word> {
    split_words(text, &Segmenter::characters())
}

#[test]
fn the_top_n_gram_counts_its_inner_spaces_and_ties_go_to_the_first() {
    let words = words("a bb a bb ccc d ccc d");
    let mut grams = NGrams::new(&words);
    assert_eq!(grams.n_top_characters(2), Some("a bb".len() * 2));
    assert_eq!(grams.n_top_characters(3), Some("a bb a".len()));
    assert_eq!(grams.n_top_characters(9), None);
}

#[test]
fn repeated_n_grams_do_not_overlap() {
    let words = words("a a a a a a");
    // The first `a a` is new; the second starts at the second word.
    assert_eq!(NGrams::new(&words).n_repeated_characters(2), 4);
}

#[test]
fn smaller_n_after_larger_ones_is_counted_anew() {
    let words = words("a b c a b d");
    let mut grams = NGrams::new(&words);
    assert_eq!(grams.n_top_characters(4), Some("a b c a".len()));
    grams.restart();
    assert_eq!(grams.n_repeated_characters(2), 2);
}

/// The definitions, word by word, with strings in sets.
fn plain_top(words: &[&str], n: usize) -> Option<usize> {
    let grams: Vec<String> = words.windows(n).map(|gram| gram.join(" ")).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for gram in &grams {
        *counts.entry(gram).or_default() += 1;
    }
    let most = *counts.values().max()?;
    let first = grams.iter().find(|gram| counts[gram.as_str()] == most)?;
    Some(first.chars().count() * most)
}

fn plain_repeated(words: &[&str], n: usize) -> usize {
    let (mut seen, mut n_repeated, mut at) = (HashSet::new(), 0, 0);
    while at + n <= words.len() {
        let gram = &words[at..at + n];
        if seen.insert(gram) {
            at += 1;
        } else {
            n_repeated += gram.iter().map(|word| word.chars().count()).sum::<usize>();
            at += n;
        }
    }
    n_repeated
}

proptest! {
    #[test]
    fn hashed_n_grams_equal_those_of_strings(text in "((a|b|cc|dé|你) ){0,60}") {
        let words = words(&text);
        let plain: Vec<&str> = words.iter().map(|w| &text[w.start..w.start + w.n_bytes]).collect();
        let mut grams = NGrams::new(&words);
        for n in 2..=4 {
            prop_assert_eq!(grams.n_top_characters(n), plain_top(&plain, n));
        }
        grams.restart();
        for n in 2..=10 {
            prop_assert_eq!(grams.n_repeated_characters(n), plain_repeated(&plain, n));
        }
    }
}
