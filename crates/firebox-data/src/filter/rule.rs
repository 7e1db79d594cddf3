//! What every rule can do, and how its parameters are declared and checked.

use std::fmt;
use std::ops::ControlFlow;

use crate::document::Document;

use super::error::RuleProblem;
use super::finding::Finding;
use super::statistics::Statistics;

/// A rule, ready to run on any number of threads.
pub(super) trait Rule: Send + Sync + fmt::Debug {
    /// Reports what it measures, one value after the other, and breaks off where `report` does. Otherwise
    /// gives the changed text, if it changes it.
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>>;
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) statistics: &'d Statistics<'d>,
}

impl<'d> Input<'d> {
    pub(super) fn text(&self) -> &'d str {
        self.statistics.text
    }
}

/// Takes findings; breaks if one is enough.
pub(super) type Report<'r> = dyn FnMut(Finding) -> ControlFlow<()> + 'r;

/// The parameters of a kind of rule.
pub(super) trait Parameters {
    /// Notes every threshold that makes no sense.
    fn check(&self, problems: &mut Problems<'_>);

    /// Makes the rule; the parameters have been checked.
    fn build(&self) -> Box<dyn Rule>;
}

/// Collects what is wrong with one rule.
#[derive(Debug)]
pub(super) struct Problems<'p> {
    /// The rule's place in the recipe.
    pub(super) place: &'p str,
    pub(super) found: &'p mut Vec<RuleProblem>,
}

impl Problems<'_> {
    pub(super) fn add(&mut self, parameter: &str, text: impl Into<String>) {
        self.found.push(RuleProblem {
            place: format!("{}, `{parameter}`", self.place),
            text: text.into(),
        });
    }

    /// Demands a ratio from 0 to 1.
    pub(super) fn share(&mut self, parameter: &str, value: f64) {
        if !(0.0..=1.0).contains(&value) {
            let text =
                format!("expected a share from 0 to 1, found {value} (hint: 10 % is written 0.1)");
            self.add(parameter, text);
        }
    }

    /// Demands that a lower bound is not above its upper bound.
    pub(super) fn ordered<T: PartialOrd + fmt::Display>(
        &mut self,
        low: (&str, T),
        high: (&str, T),
    ) {
        if low.1 > high.1 {
            let text = format!(
                "expected at most `{}` = {}, found {} (hint: nothing would be kept; swap the two?)",
                high.0, high.1, low.1
            );
            self.add(low.0, text);
        }
    }

    /// Demands a list with something in it.
    pub(super) fn filled<T>(&mut self, parameter: &str, list: &[T]) {
        if list.is_empty() {
            self.add(
                parameter,
                "expected at least one entry, found none (hint: or remove the rule)",
            );
        }
    }
}

/// Declares the parameters of a kind of rule: a plain struct with a default for each field.
macro_rules! parameters {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// The names of the parameters.
            pub(in crate::filter) const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}
pub(super) use parameters;
