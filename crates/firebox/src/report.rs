//! `report.html`: one run of the loop as a page that a newcomer can read, and the shell of other pages.
//!
//! The page is one file: styles and plots are inside it, nothing is fetched, nothing runs. It is
//! well-formed XML as well as HTML, so a test can parse it.

mod bars;
mod curves;
mod escape;
mod explain;
mod headline;
mod quality;
mod ring;
mod samples;
mod setup;
mod stages;
mod svg_plot;
mod words;

use crate::loop_report::LoopReport;
pub(crate) use bars::{Bar, bars};
pub(crate) use escape::escape;

/// The whole page.
pub(crate) fn render(report: &LoopReport) -> String {
    let sections = [
        headline::section(report),
        stages::section(report),
        curves::section(report),
        quality::section(report),
        samples::section(report),
        explain::section(report),
        words::section(),
        setup::section(report),
    ];
    shell(
        &format!("{} · {}", report.title, report.run_id),
        &sections.concat(),
    )
}

/// A page around its sections.
pub(crate) fn shell(title: &str, body: &str) -> String {
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:" />
<meta name="color-scheme" content="light dark" />
<meta name="generator" content="firebox {version}" />
<link rel="icon" href="data:," />
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"#,
        version = env!("CARGO_PKG_VERSION"),
        title = escape(title),
        style = include_str!("report/style.css"),
    )
}

/// A section of a page: its title, a line that explains it, and what it shows.
pub(crate) fn section(title: &str, text: &str, body: &str) -> String {
    format!(
        "<section>\n<h2>{title}</h2>\n<p>{}</p>\n{body}</section>\n",
        escape(text)
    )
}

#[cfg(test)]
mod tests;
