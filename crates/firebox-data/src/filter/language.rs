//! The rule on languages.

mod alphabets;
mod identify;
mod scripts;

use std::ops::ControlFlow;
use std::sync::Arc;

use super::finding::{Bound, Finding, Value};
use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};
use identify::identify;

pub use identify::{LANGUAGES, Language, identify_language};

parameters! {
    /// The language that most of the text is in.
    ///
    /// Up to three windows of about 120 bytes are looked at, spread over the text, each by itself: its
    /// main script decides, where it is that of one language; in Latin, Cyrillic, Arabic and Devanagari
    /// script the crate `whichlang` does, among sixteen languages, and letters that the language found does
    /// not have speak against it. A short text is one window.
    LanguageRule {
        /// The languages that are kept, by their ISO 639-1 codes; see [`LANGUAGES`].
        languages: Vec<String> = vec!["en".into()],
        /// Least share of the windows that must be in the text's main language. datatrove demands a score
        /// of 0.65 of fastText's model; the numbers mean different things.
        min_share: f64 = 0.6,
    }
}

impl Parameters for LanguageRule {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.filled("languages", &self.languages);
        for code in &self.languages {
            if !LANGUAGES.contains(&code.as_str()) {
                let known = LANGUAGES.join(", ");
                problems.add(
                    "languages",
                    format!("expected ISO 639-1 codes out of {known}, found `{code}`"),
                );
            }
        }
        problems.share("min_share", self.min_share);
    }

    fn build(&self) -> Box<dyn Rule> {
        Box::new(Compiled {
            languages: self.languages.clone().into(),
            min_share: self.min_share,
        })
    }
}

#[derive(Debug)]
struct Compiled {
    languages: Arc<[String]>,
    min_share: f64,
}

impl Rule for Compiled {
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        let found = identify(input.text());
        report(Finding {
            check: "language",
            value: Value::Text(found.code.into()),
            bound: Bound::OneOf(Arc::clone(&self.languages)),
        })?;
        report(Finding::at_least(
            "language_share",
            found.share,
            self.min_share,
        ))?;
        ControlFlow::Continue(None)
    }
}

#[cfg(test)]
mod tests;
