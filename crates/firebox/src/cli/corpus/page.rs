//! The report of `data clean` as a page: one file, nothing fetched, nothing run.

use std::fmt::Write as _;

use firebox_data::CleanReport;
use firebox_data::filter::Sample;

use crate::report::{Bar, bars, escape, section, shell};

/// Languages that have a bar of their own.
const MOST_LANGUAGES: usize = 12;

/// The whole page.
pub(super) fn render(report: &CleanReport) -> String {
    let name = report
        .output
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let body = [
        headline(report, &name),
        rules(report),
        lengths(report),
        languages(report),
        duplicates(report),
        contamination(report),
        samples(report),
        broken(report),
    ];
    shell(&format!("Cleaning · {name}"), &body.concat())
}

fn headline(report: &CleanReport, name: &str) -> String {
    let files: String = report.files.iter().fold(String::new(), |mut text, file| {
        let _ = write!(
            text,
            "<li><code>{}</code></li>",
            escape(&file.display().to_string())
        );
        text
    });
    format!(
        "<section>\n<h1>{name}</h1>\n<p>{n_written} documents written of {n_read} read. \
         {n_records} records were in the files, {n_broken} of them broken, {n_without_text} without a text.</p>\n\
         <ul>{files}</ul>\n</section>\n",
        name = escape(name),
        n_written = report.n_written,
        n_read = report.rules.n_documents,
        n_records = report.n_records,
        n_broken = report.n_broken,
        n_without_text = report.n_without_text,
    )
}

fn rules(report: &CleanReport) -> String {
    let mut rows: Vec<Bar> = report
        .rules
        .rules
        .iter()
        .map(|rule| {
            let note = match rule.n_changed {
                0 => String::new(),
                n => format!("{n} changed"),
            };
            Bar::count(&rule.kind, rule.n_dropped, &note)
        })
        .collect();
    let more = [
        (
            "in evaluation sets",
            report
                .decontaminate
                .as_ref()
                .map(|found| found.n_contaminated),
        ),
        (
            "equal texts",
            report.dedup.as_ref().map(|found| found.n_exact),
        ),
        (
            "similar texts",
            report.dedup.as_ref().map(|found| found.n_near),
        ),
    ];
    rows.extend(
        more.into_iter()
            .filter_map(|(label, n)| Some(Bar::count(label, n?, ""))),
    );
    section(
        "What dropped how many documents",
        "In the order in which they are applied: a document counts for the first rule that drops it.",
        &bars("Documents dropped by each rule", &rows),
    )
}

fn lengths(report: &CleanReport) -> String {
    let counts = report.lengths.counts();
    let first = counts.iter().position(|n| *n > 0).unwrap_or(0);
    let rows: Vec<Bar> = (first..counts.len())
        .map(|place| {
            let below = 1_u64.checked_shl(place as u32).unwrap_or(u64::MAX);
            Bar::count(format!("{} – {}", below / 2, below - 1), counts[place], "")
        })
        .collect();
    section(
        "How long they are",
        "Characters of the documents that the rules kept.",
        &bars("Documents by length in characters", &rows),
    )
}

fn languages(report: &CleanReport) -> String {
    let mut counts: Vec<_> = report.languages.iter().collect();
    counts.sort_by_key(|(code, n)| (std::cmp::Reverse(**n), code.as_str()));
    let others: u64 = counts.iter().skip(MOST_LANGUAGES).map(|(_, n)| **n).sum();
    let mut rows: Vec<Bar> = counts
        .iter()
        .take(MOST_LANGUAGES)
        .map(|(code, n)| Bar::count(*code, **n, ""))
        .collect();
    if others > 0 {
        rows.push(Bar::count("others", others, ""));
    }
    section(
        "What languages they are in",
        "Of the documents that the rules kept, by ISO 639-1 code.",
        &bars("Documents by language", &rows),
    )
}

fn duplicates(report: &CleanReport) -> String {
    let Some(found) = &report.dedup else {
        return String::new();
    };
    let sizes: Vec<Bar> = found
        .cluster_sizes
        .iter()
        .take(16)
        .map(|(size, n)| Bar::count(format!("{size} documents"), *n, ""))
        .collect();
    let mut body = bars("Clusters by size", &sizes);
    if let Some(checked) = &found.checked {
        let _ = writeln!(
            body,
            "<p>{} pairs that were merged were compared word by word: {} of them are less similar than {:.2} \
             (false merges); the mean similarity is {:.2}.</p>",
            checked.n_pairs,
            checked.n_false_merges,
            checked.false_merge_below,
            checked.mean_jaccard
        );
        for pair in checked.shown.iter().take(3) {
            let _ = write!(
                body,
                "<pre class=\"wrap\">similarity {:.2}\ndropped: {}\nkept:    {}</pre>\n",
                pair.jaccard,
                escape(&pair.dropped_text),
                escape(&pair.kept_text)
            );
        }
    }
    section(
        "Duplicates",
        &format!(
            "{} of {} documents stay; {} clusters.",
            found.n_kept, found.n_documents, found.n_clusters
        ),
        &body,
    )
}

fn contamination(report: &CleanReport) -> String {
    let Some(found) = report
        .decontaminate
        .as_ref()
        .filter(|found| found.n_contaminated > 0)
    else {
        return String::new();
    };
    let mut body = String::new();
    for (set, by_set) in &found.sets {
        let set = set.display().to_string();
        let _ = write!(
            body,
            "<h3>{}: {} documents</h3>\n<pre class=\"wrap\">",
            escape(&set),
            by_set.n_documents
        );
        for shown in &by_set.shown {
            let _ = writeln!(
                body,
                "document {}, record {}: {}",
                shown.document,
                shown.record,
                escape(&shown.n_gram)
            );
        }
        body.push_str("</pre>\n");
    }
    section(
        "Parts of evaluation sets",
        "The first n-gram that a document shares with a set.",
        &body,
    )
}

fn samples(report: &CleanReport) -> String {
    let mut body = String::new();
    for rule in report
        .rules
        .rules
        .iter()
        .filter(|rule| !rule.samples.is_empty())
    {
        let lines: String = rule.samples.iter().map(sample).collect();
        let _ = write!(
            body,
            "<h3>{}</h3>\n<pre class=\"wrap\">{lines}</pre>\n",
            escape(&rule.kind)
        );
    }
    match body.is_empty() {
        true => body,
        false => section(
            "Samples",
            "The first documents that each rule dropped or changed.",
            &body,
        ),
    }
}

fn sample(sample: &Sample) -> String {
    let name = match &sample.id {
        Some(id) => id.clone(),
        None => format!("record {}", sample.number),
    };
    format!(
        "{}: {}\n    {}\n",
        escape(&name),
        escape(&sample.reason),
        escape(&sample.beginning.replace('\n', " "))
    )
}

fn broken(report: &CleanReport) -> String {
    if report.broken.is_empty() {
        return String::new();
    }
    let lines: String = report
        .broken
        .iter()
        .fold(String::new(), |mut text, broken| {
            let _ = writeln!(text, "{}", escape(broken));
            text
        });
    section(
        "Broken records",
        "The first of them.",
        &format!("<pre class=\"wrap\">{lines}</pre>\n"),
    )
}

#[cfg(test)]
mod tests;
