//! Hashes of n-grams, rolled over the hashes of words.

use xxhash_rust::xxh3::xxh3_64;

use super::simplify::SimpleText;

/// An odd number without pattern: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Rolls a polynomial over words, so that an n-gram costs the same whatever `n` is.
///
/// The hash of the words `w_1 .. w_n` is `sum(xxh3(w_i) * m^(n-i)) mod 2^64`, mixed once more. Two
/// different n-grams collide with a probability near `2^-64`: their difference is a sum of random
/// 64-bit numbers with coefficients that are not zero.
///
/// Source: Karp and Rabin (1987), "Efficient randomized pattern-matching algorithms", over xxh3 values
/// in place of characters.
#[derive(Debug, Clone)]
pub(crate) struct NGrams {
    n: usize,
    /// `m^n`: takes the oldest word out.
    oldest: u64,
}

impl NGrams {
    pub(crate) fn new(n: usize) -> Self {
        let oldest = (0..n).fold(1_u64, |power, _| power.wrapping_mul(MULTIPLIER));
        Self { n, oldest }
    }

    /// One hash per n-gram, in order; none, if there are fewer than `n` words.
    pub(crate) fn of_words(&self, words: &[u64]) -> impl Iterator<Item = u64> {
        let n_first = words.len().min(self.n - 1);
        let mut hash = words[..n_first].iter().fold(0, push);
        let leaving = std::iter::once(&0).chain(words);
        words[n_first..].iter().zip(leaving).map(move |(new, old)| {
            hash = push(hash, new).wrapping_sub(old.wrapping_mul(self.oldest));
            mix(hash)
        })
    }

    /// As [`of_words`](Self::of_words), but a text with some words, though fewer than `n`, has one
    /// n-gram: all its words.
    pub(crate) fn of_text(&self, text: &SimpleText) -> Vec<u64> {
        let words = word_hashes(text);
        if (1..self.n).contains(&words.len()) {
            return vec![mix(words.iter().fold(0, push))];
        }
        self.of_words(&words).collect()
    }
}

/// The hash of each word.
pub(crate) fn word_hashes(text: &SimpleText) -> Vec<u64> {
    text.tokens().map(xxh3_64).collect()
}

fn push(hash: u64, word: &u64) -> u64 {
    hash.wrapping_mul(MULTIPLIER).wrapping_add(*word)
}

/// A permutation of the 64-bit numbers after which every bit depends on all of the bits before.
///
/// Source: the finalizer of SplitMix64, Steele, Lea and Flood (2014), "Fast splittable pseudorandom
/// number generators", figure 17.
pub(crate) fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
