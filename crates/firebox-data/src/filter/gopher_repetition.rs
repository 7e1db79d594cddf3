//! Gopher's repetition rules, with datatrove's definitions.

use std::ops::ControlFlow;

use super::finding::{Finding, ratio};
use super::lines::{split_at_newlines, split_paragraphs};
use super::repeats::{Duplicates, HashCounts};
use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};
use super::words::Word;

parameters! {
    /// Gopher's repetition rules. Characters are code points, of the whole text below the line of the
    /// fraction; a paragraph ends at a blank line.
    ///
    /// Source: Rae et al. (2021), <https://arxiv.org/abs/2112.11446>, Table A1, as
    /// `GopherRepetitionFilter` of datatrove 0.10 reads it.
    GopherRepetition {
        /// Highest share of lines equal to an earlier one.
        dup_line_frac: f64 = 0.3,
        /// Highest share of paragraphs equal to an earlier one.
        dup_para_frac: f64 = 0.3,
        /// Highest share of characters in such lines.
        dup_line_char_frac: f64 = 0.2,
        /// Highest share of characters in such paragraphs.
        dup_para_char_frac: f64 = 0.2,
        /// For each n, highest share of characters in the n-gram that occurs most (with its inner spaces),
        /// all its occurrences counted.
        top_n_grams: Vec<(usize, f64)> = vec![(2, 0.2), (3, 0.18), (4, 0.16)],
        /// For each n, highest share of characters in n-grams that occurred before, found from left to
        /// right without overlap.
        dup_n_grams: Vec<(usize, f64)> =
            vec![(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)],
    }
}

/// The longest n-grams that have names.
const LONGEST: usize = 16;

/// What the rules on n-grams report, by n.
const TOP_NAMES: [&str; LONGEST + 1] = [
    "top_0_gram",
    "top_1_gram",
    "top_2_gram",
    "top_3_gram",
    "top_4_gram",
    "top_5_gram",
    "top_6_gram",
    "top_7_gram",
    "top_8_gram",
    "top_9_gram",
    "top_10_gram",
    "top_11_gram",
    "top_12_gram",
    "top_13_gram",
    "top_14_gram",
    "top_15_gram",
    "top_16_gram",
];
const DUP_NAMES: [&str; LONGEST + 1] = [
    "duplicated_0_n_grams",
    "duplicated_1_n_grams",
    "duplicated_2_n_grams",
    "duplicated_3_n_grams",
    "duplicated_4_n_grams",
    "duplicated_5_n_grams",
    "duplicated_6_n_grams",
    "duplicated_7_n_grams",
    "duplicated_8_n_grams",
    "duplicated_9_n_grams",
    "duplicated_10_n_grams",
    "duplicated_11_n_grams",
    "duplicated_12_n_grams",
    "duplicated_13_n_grams",
    "duplicated_14_n_grams",
    "duplicated_15_n_grams",
    "duplicated_16_n_grams",
];

impl Parameters for GopherRepetition {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.share("dup_line_frac", self.dup_line_frac);
        problems.share("dup_para_frac", self.dup_para_frac);
        problems.share("dup_line_char_frac", self.dup_line_char_frac);
        problems.share("dup_para_char_frac", self.dup_para_char_frac);
        for (name, limits) in [
            ("top_n_grams", &self.top_n_grams),
            ("dup_n_grams", &self.dup_n_grams),
        ] {
            for &(n, share) in limits {
                if !(1..=LONGEST).contains(&n) {
                    problems.add(name, format!("expected n from 1 to {LONGEST}, found {n}"));
                }
                // A top n-gram that overlaps itself can cover more than the text.
                if share.is_nan() || share < 0.0 {
                    problems.add(
                        name,
                        format!("expected a share of 0 or more, found {share}"),
                    );
                }
            }
            if !limits.is_sorted_by(|left, right| left.0 < right.0) {
                problems.add(
                    name,
                    "expected each n once, in rising order, found another order",
                );
            }
        }
    }

    fn build(&self) -> Box<dyn Rule> {
        Box::new(self.clone())
    }
}

impl Rule for GopherRepetition {
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        let n_characters = input.statistics.characters().n_characters;
        let share = |part: usize| ratio(part, n_characters);

        let paragraphs = Duplicates::among(split_paragraphs(input.text()));
        let fraction = ratio(paragraphs.n_duplicates, paragraphs.n_elements);
        report(Finding::at_most(
            "dup_para_frac",
            fraction,
            self.dup_para_frac,
        ))?;
        let fraction = share(paragraphs.n_duplicate_characters);
        report(Finding::at_most(
            "dup_para_char_frac",
            fraction,
            self.dup_para_char_frac,
        ))?;

        let lines = Duplicates::among(split_at_newlines(input.text()));
        let fraction = ratio(lines.n_duplicates, lines.n_elements);
        report(Finding::at_most(
            "dup_line_frac",
            fraction,
            self.dup_line_frac,
        ))?;
        let fraction = share(lines.n_duplicate_characters);
        report(Finding::at_most(
            "dup_line_char_frac",
            fraction,
            self.dup_line_char_frac,
        ))?;

        let mut grams = NGrams::new(input.statistics.words());
        for &(n, most) in &self.top_n_grams {
            if let Some(n_top) = grams.n_top_characters(n) {
                report(Finding::at_most(TOP_NAMES[n], share(n_top), most))?;
            }
        }
        grams.restart();
        for &(n, most) in &self.dup_n_grams {
            let n_repeated = grams.n_repeated_characters(n);
            report(Finding::at_most(DUP_NAMES[n], share(n_repeated), most))?;
        }
        ControlFlow::Continue(None)
    }
}

/// The n-grams of a text's words, for growing n.
#[derive(Debug)]
struct NGrams<'w> {
    words: &'w [Word],
    /// Hash of the n words from each place on; longer by one word with each step.
    hashes: Vec<u64>,
    n: usize,
    /// Characters before each word, spaces not counted.
    n_characters_before: Vec<usize>,
    counts: HashCounts,
    /// The least n known for which no two n-grams are equal: then no longer ones are.
    all_differ_from: usize,
}

/// An odd multiplier; words' hashes are uniform already.
const STEP: u64 = 0xd6e8_feb8_6659_fd93;

impl<'w> NGrams<'w> {
    fn new(words: &'w [Word]) -> Self {
        let mut n_characters_before = Vec::with_capacity(words.len() + 1);
        let mut sum = 0;
        n_characters_before.push(0);
        for word in words {
            sum += word.n_characters;
            n_characters_before.push(sum);
        }
        let mut grams = Self {
            words,
            hashes: Vec::with_capacity(words.len()),
            n: 1,
            n_characters_before,
            counts: HashCounts::default(),
            all_differ_from: usize::MAX,
        };
        grams.restart();
        grams
    }

    /// Goes back to n = 1.
    fn restart(&mut self) {
        self.hashes.clear();
        self.hashes.extend(self.words.iter().map(|word| word.hash));
        self.n = 1;
    }

    /// Moves on to `n`, which is not smaller than before.
    fn grow_to(&mut self, n: usize) {
        while self.n < n {
            let tail = self.words.get(self.n..).unwrap_or_default();
            self.hashes.truncate(tail.len());
            for (hash, word) in self.hashes.iter_mut().zip(tail) {
                *hash = hash.wrapping_mul(STEP) ^ word.hash;
            }
            self.n += 1;
        }
    }

    /// Characters of the `n` words from `at` on.
    fn n_characters(&self, at: usize) -> usize {
        self.n_characters_before[at + self.n] - self.n_characters_before[at]
    }

    /// Characters in all occurrences of the n-gram that occurs most; of several, the one that occurs first.
    /// None if there are no `n` words.
    fn n_top_characters(&mut self, n: usize) -> Option<usize> {
        self.grow_to(n);
        if self.hashes.is_empty() {
            return None;
        }
        let (mut n_most, mut first_of_most) = (1, 0);
        if n < self.all_differ_from {
            self.counts.clear(self.hashes.len());
            for (at, &hash) in self.hashes.iter().enumerate() {
                let (count, first) = self.counts.add(hash, at as u32);
                if count > n_most || (count == n_most && first < first_of_most) {
                    (n_most, first_of_most) = (count, first);
                }
            }
            if n_most == 1 {
                self.all_differ_from = n;
            }
        }
        let n_spaces = n - 1;
        Some((self.n_characters(first_of_most as usize) + n_spaces) * n_most as usize)
    }

    /// Characters in n-grams that occurred before; after one that did, the next begins behind it.
    fn n_repeated_characters(&mut self, n: usize) -> usize {
        self.grow_to(n);
        if n >= self.all_differ_from {
            return 0;
        }
        self.counts.clear(self.hashes.len());
        let mut n_repeated = 0;
        let mut at = 0;
        while at < self.hashes.len() {
            if self.counts.add(self.hashes[at], at as u32).0 > 1 {
                n_repeated += self.n_characters(at);
                at += n;
            } else {
                at += 1;
            }
        }
        if n_repeated == 0 {
            self.all_differ_from = n;
        }
        n_repeated
    }
}

#[cfg(test)]
mod tests;
