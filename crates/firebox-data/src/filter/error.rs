//! What can be wrong with a set of rules.

use std::fmt;

/// Why rules cannot be made from their configurations.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterError {
    /// Thresholds that cannot be meant.
    #[error("make the rules: {}", list(.problems))]
    BadRules {
        /// Every one of them.
        problems: Vec<RuleProblem>,
    },
    /// Words are to be cut by jieba, which this build lacks.
    #[error(
        "make the rules: expected a build with jieba for `words = \"jieba\"`, found one without \
         (hint: build with the feature `jieba`, or write `words = \"characters\"`)"
    )]
    NoJieba,
}

/// One thing that is wrong with one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProblem {
    /// Which rule and parameter.
    pub place: String,
    /// What was expected, what was found, what to do.
    pub text: String,
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Problems in one text, each on a line of its own if there are several.
pub(crate) fn list(problems: &[RuleProblem]) -> String {
    match problems {
        [problem] => problem.to_string(),
        _ => problems
            .iter()
            .map(|problem| format!("\n  {problem}"))
            .collect(),
    }
}
