//! Gopher's quality rules, with datatrove's definitions.

use std::ops::ControlFlow;

use memchr::memchr_iter;
use memchr::memmem::Finder;
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::characters::is_space;
use super::finding::{Finding, ratio};
use super::lines::split_lines;
use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};
use super::words::Word;

parameters! {
    /// Gopher's quality rules. Words are cut with punctuation as words of its own.
    ///
    /// Source: Rae et al. (2021), <https://arxiv.org/abs/2112.11446>, Appendix A.1.1, as
    /// `GopherQualityFilter` of datatrove 0.10 reads it.
    GopherQuality {
        /// Fewest words that are not punctuation alone.
        min_words: usize = 50,
        /// Most words that are not punctuation alone.
        max_words: usize = 100_000,
        /// Lowest mean length of those words, in characters.
        min_mean_word_length: f64 = 3.0,
        /// Highest mean length of those words, in characters.
        max_mean_word_length: f64 = 10.0,
        /// Most `#` per word, and most ellipses (`...` or `…`) per word; words here and below are all
        /// words.
        max_symbol_word_ratio: f64 = 0.1,
        /// Highest share of lines that start with `•` or `-`.
        max_bullet_lines: f64 = 0.9,
        /// Highest share of lines that end with an ellipsis.
        max_ellipsis_lines: f64 = 0.3,
        /// Lowest share of words with a letter.
        min_alphabetic_words: f64 = 0.8,
        /// Fewest of the stop words that occur; compared letter by letter.
        min_stop_words: usize = 2,
        /// The stop words.
        stop_words: Vec<String> = ["the", "be", "to", "of", "and", "that", "have", "with"]
            .map(String::from)
            .to_vec(),
    }
}

impl Parameters for GopherQuality {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.ordered(("min_words", self.min_words), ("max_words", self.max_words));
        problems.ordered(
            ("min_mean_word_length", self.min_mean_word_length),
            ("max_mean_word_length", self.max_mean_word_length),
        );
        if self.max_symbol_word_ratio.is_nan() || self.max_symbol_word_ratio < 0.0 {
            let text = format!("expected 0 or more, found {}", self.max_symbol_word_ratio);
            problems.add("max_symbol_word_ratio", text);
        }
        problems.share("max_bullet_lines", self.max_bullet_lines);
        problems.share("max_ellipsis_lines", self.max_ellipsis_lines);
        problems.share("min_alphabetic_words", self.min_alphabetic_words);
        if self.min_stop_words > self.stop_words.len() {
            let text = format!(
                "expected at most the {} entries of `stop_words`, found {} (hint: nothing would be kept)",
                self.stop_words.len(),
                self.min_stop_words
            );
            problems.add("min_stop_words", text);
        }
    }

    fn build(&self) -> Box<dyn Rule> {
        let hashes = self.stop_words.iter().enumerate();
        Box::new(Compiled {
            limits: self.clone(),
            stop_words: hashes
                .map(|(at, word)| (xxh3_64(word.as_bytes()), at))
                .collect(),
            longest_stop_word_bytes: self.stop_words.iter().map(String::len).max().unwrap_or(0),
            dots: Finder::new("...").into_owned(),
            ellipsis: Finder::new("…").into_owned(),
        })
    }
}

#[derive(Debug)]
struct Compiled {
    limits: GopherQuality,
    /// Index of each stop word by its hash.
    stop_words: FxHashMap<u64, usize>,
    longest_stop_word_bytes: usize,
    dots: Finder<'static>,
    ellipsis: Finder<'static>,
}

impl Rule for Compiled {
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        let limits = &self.limits;
        let words = input.statistics.words();
        let text = input.text();
        let sizes = Sizes::of(words);

        report(Finding::at_least(
            "gopher_short_doc",
            sizes.n_proper as f64,
            limits.min_words as f64,
        ))?;
        report(Finding::at_most(
            "gopher_long_doc",
            sizes.n_proper as f64,
            limits.max_words as f64,
        ))?;
        let mean = ratio(sizes.n_proper_characters, sizes.n_proper);
        report(Finding::at_least(
            "gopher_below_avg_threshold",
            mean,
            limits.min_mean_word_length,
        ))?;
        report(Finding::at_most(
            "gopher_above_avg_threshold",
            mean,
            limits.max_mean_word_length,
        ))?;

        let bytes = text.as_bytes();
        let hashes = ratio(memchr_iter(b'#', bytes).count(), words.len());
        report(Finding::at_most(
            "gopher_too_many_hashes",
            hashes,
            limits.max_symbol_word_ratio,
        ))?;
        let n_dots = self.dots.find_iter(bytes).count();
        let n_ellipses = n_dots + self.ellipsis.find_iter(bytes).count();
        let ellipses = ratio(n_ellipses, words.len());
        report(Finding::at_most(
            "gopher_too_many_ellipsis",
            ellipses,
            limits.max_symbol_word_ratio,
        ))?;

        let lines = LineMarks::of(text);
        let bullets = ratio(lines.n_bullets, lines.n_lines);
        report(Finding::at_most(
            "gopher_too_many_bullets",
            bullets,
            limits.max_bullet_lines,
        ))?;
        let open = ratio(lines.n_ellipses, lines.n_lines);
        report(Finding::at_most(
            "gopher_too_many_end_ellipsis",
            open,
            limits.max_ellipsis_lines,
        ))?;

        let alphabetic = ratio(sizes.n_alphabetic, words.len());
        report(Finding::at_least(
            "gopher_below_alpha_threshold",
            alphabetic,
            limits.min_alphabetic_words,
        ))?;
        let n_stop_words = self.count_stop_words(words) as f64;
        let least = limits.min_stop_words as f64;
        report(Finding::at_least(
            "gopher_enough_stop_words",
            n_stop_words,
            least,
        ))?;
        ControlFlow::Continue(None)
    }
}

impl Compiled {
    /// How many different stop words occur.
    fn count_stop_words(&self, words: &[Word]) -> usize {
        let mut seen = vec![false; self.limits.stop_words.len()];
        for word in words
            .iter()
            .filter(|word| word.n_bytes <= self.longest_stop_word_bytes)
        {
            if let Some(&at) = self.stop_words.get(&word.hash) {
                seen[at] = true;
            }
        }
        seen.iter().filter(|&&seen| seen).count()
    }
}

/// Sums over the words.
#[derive(Debug, Default)]
struct Sizes {
    /// Words that are not punctuation alone.
    n_proper: usize,
    n_proper_characters: usize,
    n_alphabetic: usize,
}

impl Sizes {
    fn of(words: &[Word]) -> Self {
        let mut sizes = Self::default();
        for word in words {
            sizes.n_proper += usize::from(!word.is_symbol);
            sizes.n_proper_characters += if word.is_symbol { 0 } else { word.n_characters };
            sizes.n_alphabetic += usize::from(word.has_letter);
        }
        sizes
    }
}

/// How the lines start and end.
#[derive(Debug, Default)]
struct LineMarks {
    n_lines: usize,
    n_bullets: usize,
    n_ellipses: usize,
}

impl LineMarks {
    fn of(text: &str) -> Self {
        let mut marks = Self::default();
        for line in split_lines(text) {
            marks.n_lines += 1;
            let start = line.trim_start_matches(is_space);
            marks.n_bullets += usize::from(start.starts_with(['•', '-']));
            let end = line.trim_end_matches(is_space);
            marks.n_ellipses += usize::from(end.ends_with("...") || end.ends_with('…'));
        }
        marks
    }
}

#[cfg(test)]
mod tests;
