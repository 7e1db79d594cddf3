//! A sequence of rules, run over documents.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::document::Document;

use super::config::RuleConfig;
use super::counts::RuleCounts;
use super::error::FilterError;
use super::finding::Finding;
use super::rule::{Input, Rule};
use super::statistics::Statistics;
use super::words::{Segmenter, WordCounting};

/// Rules in the order in which they are applied.
///
/// Several threads may share one: nothing in it changes.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<NamedRule>,
    segmenter: Segmenter,
}

#[derive(Debug)]
struct NamedRule {
    kind: &'static str,
    rule: Box<dyn Rule>,
}

/// What became of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<'a> {
    /// It passed every rule; rules that rewrite may have changed its text.
    Kept(Document<'a>),
    /// A rule dropped it; the rules behind were not asked.
    Dropped {
        /// The document, as that rule saw it.
        document: Document<'a>,
        /// Which rule, from 0.
        rule: usize,
        /// The rule's kind.
        kind: &'static str,
        /// What was measured, and the threshold.
        reason: Finding,
    },
}

/// What one rule makes of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleReport {
    /// Which rule, from 0.
    pub rule: usize,
    /// The rule's kind.
    pub kind: &'static str,
    /// Everything that the rule measures, each value beside its threshold.
    pub findings: Vec<Finding>,
    /// The text that the rule makes of it, if it changes it.
    pub changed_text: Option<String>,
}

impl RuleReport {
    /// Whether the rule keeps the document.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.findings.iter().all(Finding::passes)
    }
}

impl Rules {
    /// Makes rules out of their configurations.
    ///
    /// # Errors
    ///
    /// If thresholds make no sense, all of them in one error, or if words are to be cut by jieba and this
    /// build has none.
    pub fn new(configs: &[RuleConfig], words: WordCounting) -> Result<Self, FilterError> {
        let mut problems = Vec::new();
        for (at, config) in configs.iter().enumerate() {
            config.check(
                &format!("rule {} (`{}`)", at + 1, config.kind()),
                &mut problems,
            );
        }
        if !problems.is_empty() {
            return Err(FilterError::BadRules { problems });
        }
        let rules = configs.iter().map(|config| NamedRule {
            kind: config.kind(),
            rule: config.build(),
        });
        Ok(Self {
            rules: rules.collect(),
            segmenter: Segmenter::new(words)?,
        })
    }

    /// The kinds of the rules, in order.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.rules.iter().map(|rule| rule.kind).collect()
    }

    /// Applies the rules in order, up to the first that drops the document.
    #[must_use]
    pub fn apply<'a>(&self, document: Document<'a>) -> Outcome<'a> {
        self.run(document, |_, _, _| {})
    }

    /// [`apply`](Self::apply), and counts what happened. `counts` must have been made for these rules by
    /// [`RuleCounts::new`]; `file` is the document's file among the inputs, from 0.
    #[must_use]
    pub fn apply_counted<'a>(
        &self,
        document: Document<'a>,
        file: u32,
        counts: &mut RuleCounts,
    ) -> Outcome<'a> {
        counts.add_input(&document);
        let outcome = self.run(document, |rule, document, text| {
            counts.add_changed(rule, file, document, text);
        });
        counts.add_outcome(file, &outcome);
        outcome
    }

    /// Runs every rule, also behind one that drops the document, each on the text that the rules before it
    /// leave.
    #[must_use]
    pub fn explain(&self, document: &Document<'_>) -> Vec<RuleReport> {
        let mut document = document.clone();
        let mut reports = Vec::with_capacity(self.rules.len());
        for (at, NamedRule { kind, rule }) in self.rules.iter().enumerate() {
            let mut findings = Vec::new();
            let statistics = Statistics::new(&document.text, self.segmenter);
            let input = Input {
                document: &document,
                statistics: &statistics,
            };
            let changed_text = match rule.judge(&input, &mut |finding| {
                findings.push(finding);
                ControlFlow::Continue(())
            }) {
                ControlFlow::Continue(changed) => changed,
                ControlFlow::Break(()) => None,
            };
            if let Some(text) = &changed_text {
                document.text = Cow::Owned(text.clone());
            }
            reports.push(RuleReport {
                rule: at,
                kind,
                findings,
                changed_text,
            });
        }
        reports
    }

    /// Applies the rules; `changed` hears of each change: which rule, the document before, the new text.
    fn run<'a>(
        &self,
        mut document: Document<'a>,
        mut changed: impl FnMut(usize, &Document<'_>, &str),
    ) -> Outcome<'a> {
        let mut next = 0;
        loop {
            match self.run_until_change(&document, next) {
                Step::Kept => return Outcome::Kept(document),
                Step::Dropped(rule, reason) => {
                    let kind = self.rules[rule].kind;
                    return Outcome::Dropped {
                        document,
                        rule,
                        kind,
                        reason,
                    };
                }
                Step::Changed(rule, text) => {
                    changed(rule, &document, &text);
                    document.text = Cow::Owned(text);
                    next = rule + 1;
                }
            }
        }
    }

    /// Runs the rules from `first` on over one text, which they share what they count of.
    fn run_until_change(&self, document: &Document<'_>, first: usize) -> Step {
        let statistics = Statistics::new(&document.text, self.segmenter);
        let input = Input {
            document,
            statistics: &statistics,
        };
        for (at, NamedRule { rule, .. }) in self.rules.iter().enumerate().skip(first) {
            let mut failed = None;
            let result = rule.judge(&input, &mut |finding| {
                if finding.passes() {
                    return ControlFlow::Continue(());
                }
                failed = Some(finding);
                ControlFlow::Break(())
            });
            if let Some(finding) = failed {
                return Step::Dropped(at, finding);
            }
            if let ControlFlow::Continue(Some(text)) = result {
                return Step::Changed(at, text);
            }
        }
        Step::Kept
    }
}

enum Step {
    Kept,
    Dropped(usize, Finding),
    Changed(usize, String),
}

#[cfg(test)]
mod tests;
