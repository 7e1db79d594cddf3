//! Rules on what stands beside the text.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::document::Document;

use super::finding::{Bound, Finding, Value};
use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};

parameters! {
    /// The year of publication. A house rule.
    YearRange {
        /// First year.
        from: u16 = 0,
        /// Last year.
        to: u16 = 9999,
        /// Whether documents without a year are kept.
        keep_unknown: bool = false,
    }
}

parameters! {
    /// Fields that must be there and not empty. A house rule.
    HasFields {
        /// Some of `id`, `title`, `text`, `year`, `mesh_terms`.
        fields: Vec<String> = vec!["text".into()],
    }
}

parameters! {
    /// MeSH headings that must, or must not, be among the document's; compared letter by letter.
    ///
    /// Source: Medical Subject Headings, <https://www.nlm.nih.gov/mesh>.
    MeshTerms {
        /// One of these must be there; none given, none is demanded.
        any: Vec<String> = Vec::new(),
        /// None of these may be there.
        none: Vec<String> = Vec::new(),
    }
}

impl Parameters for YearRange {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.ordered(("from", self.from), ("to", self.to));
    }

    fn build(&self) -> Box<dyn Rule> {
        Box::new(self.clone())
    }
}

impl Rule for YearRange {
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        match input.document.year {
            Some(year) => {
                report(Finding::at_least(
                    "year",
                    f64::from(year),
                    f64::from(self.from),
                ))?;
                report(Finding::at_most(
                    "year",
                    f64::from(year),
                    f64::from(self.to),
                ))?;
            }
            None => {
                let least = f64::from(u8::from(!self.keep_unknown));
                report(Finding::at_least("years known", 0.0, least))?;
            }
        }
        ControlFlow::Continue(None)
    }
}

/// A field's name, and whether a document has it.
type Field = (&'static str, fn(&Document<'_>) -> bool);

/// The fields of [`HasFields`], by name.
const FIELDS: [Field; 5] = [
    ("id", |document| {
        document.id.as_deref().is_some_and(|id| !id.is_empty())
    }),
    ("title", |document| {
        document
            .title
            .as_deref()
            .is_some_and(|title| !title.trim().is_empty())
    }),
    ("text", |document| !document.text.trim().is_empty()),
    ("year", |document| document.year.is_some()),
    ("mesh_terms", |document| !document.mesh_terms.is_empty()),
];

impl Parameters for HasFields {
    fn check(&self, problems: &mut Problems<'_>) {
        problems.filled("fields", &self.fields);
        for field in &self.fields {
            if !FIELDS.iter().any(|(name, _)| name == field) {
                let names = FIELDS.map(|(name, _)| name).join(", ");
                problems.add(
                    "fields",
                    format!("expected one of {names}, found `{field}`"),
                );
            }
        }
    }

    fn build(&self) -> Box<dyn Rule> {
        let mut wanted = FIELDS.to_vec();
        wanted.retain(|(name, _)| self.fields.iter().any(|field| field == name));
        Box::new(WantedFields(wanted))
    }
}

#[derive(Debug)]
struct WantedFields(Vec<Field>);

impl Rule for WantedFields {
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        for &(name, is_there) in &self.0 {
            report(Finding::at_least(
                name,
                f64::from(u8::from(is_there(input.document))),
                1.0,
            ))?;
        }
        ControlFlow::Continue(None)
    }
}

impl Parameters for MeshTerms {
    fn check(&self, problems: &mut Problems<'_>) {
        if self.any.is_empty() && self.none.is_empty() {
            problems.add(
                "any",
                "expected headings here or in `none`, found none in either",
            );
        }
        for heading in self
            .any
            .iter()
            .filter(|&heading| self.none.contains(heading))
        {
            let text = format!("expected headings that are not in `none` too, found `{heading}`");
            problems.add("any", text);
        }
    }

    fn build(&self) -> Box<dyn Rule> {
        Box::new(MeshRule {
            any: self.any.clone().into(),
            none: self.none.clone().into(),
        })
    }
}

#[derive(Debug)]
struct MeshRule {
    any: Arc<[String]>,
    none: Arc<[String]>,
}

impl Rule for MeshRule {
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        let found_in = |names: &[String]| {
            let mut terms = input.document.mesh_terms.iter();
            terms
                .find(|&term| names.iter().any(|name| name == term))
                .map(ToString::to_string)
        };
        if !self.any.is_empty() {
            report(Finding {
                check: "mesh_terms",
                value: Value::Text(found_in(&self.any).unwrap_or_default().into()),
                bound: Bound::OneOf(Arc::clone(&self.any)),
            })?;
        }
        if !self.none.is_empty() {
            report(Finding {
                check: "mesh_terms",
                value: Value::Text(found_in(&self.none).unwrap_or_default().into()),
                bound: Bound::NoneOf(Arc::clone(&self.none)),
            })?;
        }
        ControlFlow::Continue(None)
    }
}
