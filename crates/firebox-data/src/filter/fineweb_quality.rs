//! The rules that FineWeb added, with datatrove's definitions.

use std::ops::ControlFlow;

use memchr::memchr_iter;

use super::finding::{Finding, ratio};
use super::lines::strip;
use super::punctuation::is_terminal;
use super::repeats::Duplicates;
use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};

parameters! {
    /// FineWeb's rules on lines. Lines end at `\n`; lines of spaces do not count.
    ///
    /// Source: Penedo et al. (2024), <https://arxiv.org/abs/2406.17557>, section 3.6, as
    /// `FineWebQualityFilter` of datatrove 0.10 reads it.
    FineWebQuality {
        /// Lowest share of lines that end with a mark that ends sentences, in any script.
        line_punct_thr: f64 = 0.12,
        /// Whether a text without one such line passes.
        line_punct_exclude_zero: bool = false,
        /// Highest share of short lines.
        short_line_thr: f64 = 0.67,
        /// Most characters of a short line.
        short_line_length: usize = 30,
        /// Highest share of characters in lines equal to an earlier one.
        char_duplicates_ratio: f64 = 0.01,
        /// Most line ends per word, punctuation counted as words.
        new_line_ratio: f64 = 0.3,
    }
}

impl Parameters for FineWebQuality {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.share("line_punct_thr", self.line_punct_thr);
        problems.share("short_line_thr", self.short_line_thr);
        problems.share("char_duplicates_ratio", self.char_duplicates_ratio);
        if self.new_line_ratio.is_nan() || self.new_line_ratio < 0.0 {
            let text = format!("expected 0 or more, found {}", self.new_line_ratio);
            problems.add("new_line_ratio", text);
        }
    }

    fn build(&self) -> Box<dyn Rule> {
        Box::new(self.clone())
    }
}

impl Rule for FineWebQuality {
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        let text = input.text();
        let lines = || text.split('\n').filter(|line| !strip(line).is_empty());
        let n_lines = lines().count();
        report(Finding::at_least("lines", n_lines as f64, 1.0))?;

        let ends_sentence = |line: &&str| line.chars().next_back().is_some_and(is_terminal);
        let n_ended = lines().filter(ends_sentence).count();
        if n_ended > 0 || !self.line_punct_exclude_zero {
            let ended = ratio(n_ended, n_lines);
            report(Finding::at_least(
                "line_punct_ratio",
                ended,
                self.line_punct_thr,
            ))?;
        }

        let n_short = lines()
            .filter(|line| is_short(line, self.short_line_length))
            .count();
        let short = ratio(n_short, n_lines);
        report(Finding::at_most(
            "short_line_ratio",
            short,
            self.short_line_thr,
        ))?;

        let n_newlines = memchr_iter(b'\n', text.as_bytes()).count();
        let n_characters = input.statistics.characters().n_characters - n_newlines;
        let n_duplicate = Duplicates::among(lines()).n_duplicate_characters;
        let duplicate = ratio(n_duplicate, n_characters);
        report(Finding::at_most(
            "char_dup_ratio",
            duplicate,
            self.char_duplicates_ratio,
        ))?;

        let list = ratio(n_newlines, input.statistics.words().len());
        report(Finding::at_most("list_ratio", list, self.new_line_ratio))?;
        ControlFlow::Continue(None)
    }
}

/// Whether a line has at most so many characters; the end of a long line is not looked at.
fn is_short(line: &str, most: usize) -> bool {
    line.chars().nth(most).is_none()
}

#[cfg(test)]
mod tests;
