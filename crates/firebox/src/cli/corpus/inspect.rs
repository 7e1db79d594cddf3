//! `firebox data inspect`.

use std::fmt::Write as _;

use firebox_data::Document;
use firebox_data::filter::{RuleReport, Rules, identify_language};
use serde::Serialize;

use super::args::InspectArgs;
use super::clean::read_recipe;
use super::sources;
use crate::cli::args::Globals;
use crate::cli::exit::UserError;
use crate::cli::output;

/// Characters of a text that are shown.
const SHOWN: usize = 400;

/// A document, and what the rules make of it.
#[derive(Serialize)]
struct Inspected {
    file: String,
    number: u64,
    id: Option<String>,
    title: Option<String>,
    year: Option<u16>,
    mesh_terms: Vec<String>,
    language: &'static str,
    n_characters: usize,
    text: String,
    rules: Vec<InspectedRule>,
}

#[derive(Serialize)]
struct InspectedRule {
    kind: &'static str,
    keeps: bool,
    findings: Vec<String>,
    changed_text: Option<String>,
}

#[derive(Serialize)]
struct Documents {
    documents: Vec<Inspected>,
}

pub(crate) fn run(globals: &Globals, args: &InspectArgs) -> anyhow::Result<()> {
    let recipe = args.recipe.as_deref().map(read_recipe).transpose()?;
    let recipe = recipe.unwrap_or_default();
    let rules = recipe.build_rules()?;
    let sources = sources(globals, &args.input, &recipe.input)?;
    let mut documents = Vec::new();
    'blocks: for block in sources.blocks() {
        let block = block?;
        for document in block.documents() {
            let document = match document {
                Ok(document) => document,
                Err(broken) => {
                    eprintln!("note: {broken}");
                    continue;
                }
            };
            if args.id.is_some() && document.id.as_deref() != args.id.as_deref() {
                continue;
            }
            let file = block.path().display().to_string();
            let inspected = inspect(file, &document, &rules, args.full);
            if args.dropped && inspected.rules.iter().all(|rule| rule.keeps) {
                continue;
            }
            documents.push(inspected);
            if documents.len() >= args.n {
                break 'blocks;
            }
        }
    }
    if documents.is_empty() {
        let text = match &args.id {
            Some(id) => format!("find document `{id}`: expected one of this name, found none"),
            None => "find documents: expected at least one, found none".to_owned(),
        };
        return Err(UserError(text).into());
    }
    let documents = Documents { documents };
    output::print(globals.json, &documents, || {
        let texts: Vec<String> = documents.documents.iter().map(text).collect();
        texts.join("\n\n")
    })
}

fn inspect(file: String, document: &Document<'_>, rules: &Rules, full: bool) -> Inspected {
    let shown = if full { usize::MAX } else { SHOWN };
    let owned = |text: &std::borrow::Cow<'_, str>| text.clone().into_owned();
    Inspected {
        file,
        number: document.number,
        id: document.id.as_ref().map(owned),
        title: document.title.as_ref().map(owned),
        year: document.year,
        mesh_terms: document.mesh_terms.iter().map(owned).collect(),
        language: identify_language(&document.text).code,
        n_characters: document.text.chars().count(),
        text: document.text.chars().take(shown).collect(),
        rules: rules.explain(document).into_iter().map(rule).collect(),
    }
}

fn rule(report: RuleReport) -> InspectedRule {
    InspectedRule {
        kind: report.kind,
        keeps: report.keeps(),
        findings: report
            .findings
            .iter()
            .map(|finding| {
                let mark = if finding.passes() { "" } else { " ✗" };
                format!("{finding}{mark}")
            })
            .collect(),
        changed_text: report.changed_text,
    }
}

fn text(document: &Inspected) -> String {
    let mut text = format!("{}, record {}", document.file, document.number);
    let mut field = |name: &str, value: &str| {
        let _ = write!(text, "\n  {name}: {value}");
    };
    if let Some(id) = &document.id {
        field("id", id);
    }
    if let Some(title) = &document.title {
        field("title", title);
    }
    if let Some(year) = document.year {
        field("year", &year.to_string());
    }
    if !document.mesh_terms.is_empty() {
        field("mesh terms", &document.mesh_terms.join("; "));
    }
    field("language", document.language);
    let cut = if document.text.chars().count() < document.n_characters {
        " …"
    } else {
        ""
    };
    field(
        &format!("text ({} characters)", document.n_characters),
        &format!("{}{cut}", document.text),
    );
    for rule in &document.rules {
        let verdict = if rule.keeps { "keeps" } else { "DROPS" };
        let changed = if rule.changed_text.is_some() {
            ", changes the text"
        } else {
            ""
        };
        let _ = write!(text, "\n  {verdict} {}{changed}", rule.kind);
        if !rule.findings.is_empty() {
            let _ = write!(text, ": {}", rule.findings.join(", "));
        }
    }
    text
}
