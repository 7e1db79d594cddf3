//! The table of stages.

use super::{escape::escape, ring::color_class};
use crate::loop_report::{Change, LoopReport, Stage, count, duration, size};

/// One row a stage; on a narrow screen every row becomes a card.
pub(crate) fn section(report: &LoopReport) -> String {
    let rows: String = report.stages.iter().enumerate().map(row).collect();
    format!(
        r#"<section>
<h2>What each stage took, and what it gave</h2>
<p>Loss and NLL are in nats per token: lower means that the model finds the text less surprising. An arrow goes from before the stage to after it.</p>
<table class="stages">
<thead><tr><th scope="col">Stage</th><th scope="col">Time</th><th scope="col">Tokens/s</th><th scope="col">Peak memory</th><th scope="col">Loss or NLL</th><th scope="col">Size</th></tr></thead>
<tbody>
{rows}</tbody>
<tfoot><tr><th scope="row">Whole loop</th>{time}<td></td>{memory}<td></td><td></td></tr></tfoot>
</table>
</section>
"#,
        time = cell("Time", &duration(report.seconds())),
        memory = cell("Peak memory", &known_size(report.peak_rss_bytes())),
    )
}

fn row((position, stage): (usize, &Stage)) -> String {
    let rate = stage.tokens_per_s.map(|rate| count(rate.round() as u64));
    let cells = [
        cell("Time", &duration(stage.seconds)),
        cell("Tokens/s", &rate.unwrap_or_default()),
        cell("Peak memory", &known_size(stage.peak_rss_bytes)),
        cell(
            "Loss or NLL",
            &change(stage.loss, |loss| format!("{loss:.3}")),
        ),
        cell("Size", &change(stage.size_bytes, size)),
    ];
    let note = stage.note.as_deref().map(|note| {
        let note = escape(note);
        format!("<span class=\"note\">{note}</span>")
    });
    format!(
        "<tr><th scope=\"row\"><span class=\"dot {class}\"></span>{name}{note}</th>{cells}</tr>\n",
        class = color_class(position),
        name = escape(&stage.name),
        note = note.unwrap_or_default(),
        cells = cells.concat(),
    )
}

/// A cell that carries its column's name for the narrow layout, where empty ones are left out.
fn cell(column: &str, value: &str) -> String {
    match value {
        "" => "<td class=\"empty\"></td>".to_owned(),
        _ => format!("<td data-label=\"{column}\">{}</td>", escape(value)),
    }
}

fn known_size(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => size(bytes),
    }
}

fn change<T>(change: Option<Change<T>>, format: impl Fn(T) -> String) -> String {
    match change {
        None => String::new(),
        Some(Change { before, after }) => match before {
            None => format(after),
            Some(before) => format!("{} → {}", format(before), format(after)),
        },
    }
}
