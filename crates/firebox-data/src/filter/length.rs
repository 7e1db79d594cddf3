//! Rules on the length of a text.

use std::ops::ControlFlow;

use super::finding::Finding;
use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};

parameters! {
    /// Fewest words; what a word is, says [`WordCounting`](super::WordCounting).
    ///
    /// Source: the course's "more than 50 words".
    MinWords {
        /// Fewest words.
        min: usize = 51,
    }
}

parameters! {
    /// Most words.
    ///
    /// Source: Rae et al. (2021), <https://arxiv.org/abs/2112.11446>, Appendix A.1.1.
    MaxWords {
        /// Most words.
        max: usize = 100_000,
    }
}

parameters! {
    /// Fewest characters (code points).
    ///
    /// Source: mC4's shortest line that counts, Xue et al. (2021), <https://arxiv.org/abs/2010.11934>,
    /// section 3.1.
    MinCharacters {
        /// Fewest characters.
        min: usize = 200,
    }
}

parameters! {
    /// Most characters (code points). A house rule, against dumps and logs.
    MaxCharacters {
        /// Most characters.
        max: usize = 1_000_000,
    }
}

/// Declares a rule that bounds one number from one side.
macro_rules! length_rule {
    ($name:ident, $field:ident, $bound:ident, $check:literal, $measure:expr) => {
        impl Parameters for $name {
            fn check(&self, problems: &mut Problems<'_>) {
                if self.$field == 0 {
                    let text = "expected at least 1, found 0 (hint: or remove the rule)";
                    problems.add(stringify!($field), text);
                }
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
                let measure: fn(&Input<'_>) -> usize = $measure;
                report(Finding::$bound(
                    $check,
                    measure(input) as f64,
                    self.$field as f64,
                ))?;
                ControlFlow::Continue(None)
            }
        }
    };
}

length_rule!(MinWords, min, at_least, "words", |input| input
    .statistics
    .n_words());
length_rule!(MaxWords, max, at_most, "words", |input| input
    .statistics
    .n_words());
length_rule!(MinCharacters, min, at_least, "characters", |input| {
    input.statistics.characters().n_characters
});
length_rule!(MaxCharacters, max, at_most, "characters", |input| {
    input.statistics.characters().n_characters
});
