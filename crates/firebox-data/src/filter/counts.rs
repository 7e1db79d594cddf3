//! What the rules did to a corpus, in numbers and samples.

use serde::{Deserialize, Serialize};

use crate::document::Document;

use super::rules::{Outcome, Rules};

/// Most characters of a text that a sample shows.
const SAMPLE_CHARACTERS: usize = 200;

/// Counts of what rules did, for one part of the input or all of it.
///
/// Parts may be counted on several threads and [merged](Self::merge) in any order; the result is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCounts {
    /// Documents read.
    pub n_documents: u64,
    /// Bytes of their texts.
    pub n_text_bytes: u64,
    /// Documents that every rule kept.
    pub n_kept: u64,
    /// Bytes of their texts, after the changes.
    pub n_kept_text_bytes: u64,
    /// The rules, in order.
    pub rules: Vec<RuleCount>,
    n_samples_per_rule: usize,
}

/// What one rule did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// The rule's kind.
    pub kind: String,
    /// Documents that it dropped.
    pub n_dropped: u64,
    /// Bytes of their texts.
    pub n_dropped_text_bytes: u64,
    /// Documents whose text it changed.
    pub n_changed: u64,
    /// The first documents that it dropped or changed, in the order of the input.
    pub samples: Vec<Sample>,
}

/// One document that a rule dropped or changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample {
    /// Its file among the inputs, from 0.
    pub file: u32,
    /// Its record in that file, from 1.
    pub number: u64,
    /// Its name, if it has one.
    pub id: Option<String>,
    /// What was measured, and the threshold; or what was written in place of what.
    pub reason: String,
    /// How its text begins; for a change, the text from shortly before the first difference.
    pub beginning: String,
}

impl RuleCounts {
    /// Zero for each of `rules`; at most `n_samples` samples will be kept for each.
    #[must_use]
    pub fn new(rules: &Rules, n_samples: usize) -> Self {
        let zero = |kind: &&str| RuleCount {
            kind: (*kind).to_owned(),
            n_dropped: 0,
            n_dropped_text_bytes: 0,
            n_changed: 0,
            samples: Vec::new(),
        };
        Self {
            n_documents: 0,
            n_text_bytes: 0,
            n_kept: 0,
            n_kept_text_bytes: 0,
            rules: rules.kinds().iter().map(zero).collect(),
            n_samples_per_rule: n_samples,
        }
    }

    /// Adds the counts of another part of the input, counted for the same rules.
    ///
    /// # Panics
    ///
    /// If they were counted for other rules.
    pub fn merge(&mut self, other: Self) {
        let kinds = |counts: &Self| {
            counts
                .rules
                .iter()
                .map(|rule| rule.kind.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(self), kinds(&other), "counts of the same rules");
        self.n_documents += other.n_documents;
        self.n_text_bytes += other.n_text_bytes;
        self.n_kept += other.n_kept;
        self.n_kept_text_bytes += other.n_kept_text_bytes;
        self.n_samples_per_rule = self.n_samples_per_rule.min(other.n_samples_per_rule);
        for (rule, other) in self.rules.iter_mut().zip(other.rules) {
            rule.n_dropped += other.n_dropped;
            rule.n_dropped_text_bytes += other.n_dropped_text_bytes;
            rule.n_changed += other.n_changed;
            rule.samples.extend(other.samples);
            rule.samples.sort();
            rule.samples.truncate(self.n_samples_per_rule);
        }
    }

    pub(super) fn add_input(&mut self, document: &Document<'_>) {
        self.n_documents += 1;
        self.n_text_bytes += document.text.len() as u64;
    }

    pub(super) fn add_outcome(&mut self, file: u32, outcome: &Outcome<'_>) {
        match outcome {
            Outcome::Kept(document) => {
                self.n_kept += 1;
                self.n_kept_text_bytes += document.text.len() as u64;
            }
            Outcome::Dropped {
                document,
                rule,
                reason,
                ..
            } => {
                self.rules[*rule].n_dropped += 1;
                self.rules[*rule].n_dropped_text_bytes += document.text.len() as u64;
                self.add_sample(*rule, file, document, || {
                    (reason.to_string(), beginning(&document.text))
                });
            }
        }
    }

    pub(super) fn add_changed(
        &mut self,
        rule: usize,
        file: u32,
        document: &Document<'_>,
        text: &str,
    ) {
        self.rules[rule].n_changed += 1;
        self.add_sample(rule, file, document, || difference(&document.text, text));
    }

    /// Keeps a sample if it is among the first; `describe` gives its reason and beginning.
    fn add_sample(
        &mut self,
        rule: usize,
        file: u32,
        document: &Document<'_>,
        describe: impl FnOnce() -> (String, String),
    ) {
        let most = self.n_samples_per_rule;
        let samples = &mut self.rules[rule].samples;
        let place = (file, document.number);
        let at = samples.partition_point(|sample| (sample.file, sample.number) <= place);
        if at >= most {
            return;
        }
        let (reason, beginning) = describe();
        samples.insert(
            at,
            Sample {
                file,
                number: document.number,
                id: document.id.as_deref().map(String::from),
                reason,
                beginning,
            },
        );
        samples.truncate(most);
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(SAMPLE_CHARACTERS).collect()
}

/// What was written in place of what, and the old text from shortly before there.
fn difference(before: &str, after: &str) -> (String, String) {
    let excerpt = |text: &str| text.chars().take(20).collect::<String>();
    let n_equal = before
        .bytes()
        .zip(after.bytes())
        .take_while(|(left, right)| left == right)
        .count();
    let at = before.floor_char_boundary(n_equal);
    let at = if after.is_char_boundary(at) { at } else { 0 };
    let reason = format!(
        "{:?} became {:?}",
        excerpt(&before[at..]),
        excerpt(&after[at..])
    );
    let start = before.floor_char_boundary(at.saturating_sub(40));
    (reason, beginning(&before[start..]))
}
