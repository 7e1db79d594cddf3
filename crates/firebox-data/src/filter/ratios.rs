//! Rules on the share of symbols and digits.

use std::ops::ControlFlow;

use super::finding::{Finding, ratio};
use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};

parameters! {
    /// Share of symbols among the characters that are no spaces: neither letters, digits nor combining
    /// marks.
    ///
    /// Source: the special-character ratio of ROOTS, Laurencon et al. (2022),
    /// <https://arxiv.org/abs/2303.03915>, with the threshold 0.25 of Data-Juicer's
    /// `special_characters_filter`.
    SymbolRatio {
        /// Highest share.
        max: f64 = 0.25,
    }
}

parameters! {
    /// Share of digits among the characters that are no spaces. A house rule, against tables and lists of
    /// numbers: one digit in five characters.
    DigitRatio {
        /// Highest share.
        max: f64 = 0.2,
    }
}

/// Declares a rule that bounds a share of the visible characters.
macro_rules! ratio_rule {
    ($name:ident, $check:literal, $part:expr) => {
        impl Parameters for $name {
            fn check(&self, problems: &mut Problems<'_>) {
                problems.share("max", self.max);
            }

            fn build(&self) -> Box<dyn Rule> {
                Box::new(self.clone())
            }
        }

        impl Rule for $name {
            fn judge(
                &self,
                input: &Input<'_>,
                report: &mut Report<'_>,
            ) -> ControlFlow<(), Option<String>> {
                let counts = input.statistics.characters();
                let part: fn(&super::characters::CharacterCounts) -> usize = $part;
                report(Finding::at_most(
                    $check,
                    ratio(part(counts), counts.n_visible()),
                    self.max,
                ))?;
                ControlFlow::Continue(None)
            }
        }
    };
}

ratio_rule!(SymbolRatio, "symbol_ratio", |counts| counts.n_symbols());
ratio_rule!(DigitRatio, "digit_ratio", |counts| counts.n_digits);
