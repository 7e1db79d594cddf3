//! Filters: named rules that drop documents or rewrite their texts.
//!
//! A [`RuleConfig`] is one rule with its thresholds, as a recipe has it; [`Rules`] are several of them,
//! ready to run. Each measured value is reported beside its threshold as a [`Finding`], and [`RuleCounts`]
//! say what the rules did to a corpus.
//!
//! Removal of personal data is not among the rules: it waits for a crate of its own.

mod c4_quality;
mod characters;
mod config;
mod counts;
mod error;
mod fields;
mod finding;
mod fineweb_quality;
mod gopher_quality;
mod gopher_repetition;
mod language;
mod length;
mod lines;
mod mojibake;
mod nfkc;
mod punctuation;
mod ratios;
mod repeats;
mod rule;
mod rules;
mod statistics;
mod whitespace;
mod words;

pub use c4_quality::C4Quality;
pub use config::RuleConfig;
pub use counts::{RuleCount, RuleCounts, Sample};
pub(crate) use error::list;
pub use error::{FilterError, RuleProblem};
pub use fields::{HasFields, MeshTerms, YearRange};
pub use finding::{Bound, Finding, Value};
pub use fineweb_quality::FineWebQuality;
pub use gopher_quality::GopherQuality;
pub use gopher_repetition::GopherRepetition;
pub use language::{LANGUAGES, Language, LanguageRule, identify_language};
pub use length::{MaxCharacters, MaxWords, MinCharacters, MinWords};
pub use mojibake::Mojibake;
pub use nfkc::Nfkc;
pub use ratios::{DigitRatio, SymbolRatio};
pub use rules::{Outcome, RuleReport, Rules};
pub use whitespace::Whitespace;
pub use words::WordCounting;

#[cfg(test)]
mod tests;
