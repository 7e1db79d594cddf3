//! Questions, and what each version answers.

use super::escape::escape;
use crate::loop_report::{LoopReport, Sample};

/// One card a question; nothing when none was asked.
pub(crate) fn section(report: &LoopReport) -> String {
    if report.samples.is_empty() {
        return String::new();
    }
    let cards: String = report.samples.iter().map(card).collect();
    format!(
        r#"<section>
<h2>What it says</h2>
<p>A score is one thing, an answer another. These are the same prompts to every version, always taking the likeliest next token, so nothing here is luck. A small model that writes fluent nonsense has learned the language and not the facts.</p>
<div class="cards">
{cards}</div>
</section>
"#
    )
}

fn card(sample: &Sample) -> String {
    let answers: String = sample
        .answers
        .iter()
        .map(|answer| said("", &answer.name, &answer.text))
        .collect();
    let expected = sample.expected.as_deref();
    let expected = expected.map(|text| said(" class=\"expected\"", "A person would say", text));
    format!(
        "<article class=\"card\">\n<h3>{question}</h3>\n<dl>\n{answers}{expected}</dl>\n</article>\n",
        question = escape(&sample.question),
        expected = expected.unwrap_or_default(),
    )
}

fn said(class: &str, name: &str, text: &str) -> String {
    let name = escape(name);
    let text = match text.trim() {
        "" => "<i>nothing</i>".to_owned(),
        text => escape(text).to_string(),
    };
    format!("<div{class}><dt>{name}</dt><dd dir=\"auto\">{text}</dd></div>\n")
}
