//! The report as a table for the terminal.

use super::{Change, LoopReport, Stage, count, duration, size};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use std::fmt::Display;

/// Rules above and below, and under the header.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

impl LoopReport {
    /// One row a stage, as wide as its contents, without a final newline.
    pub fn to_table(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(STYLE)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header([
                "stage",
                "time",
                "tokens/s",
                "peak memory",
                "loss or NLL",
                "size",
            ]);
        for stage in &self.stages {
            table.add_row(row(stage));
        }
        table.add_row([
            "whole loop".to_owned(),
            duration(self.seconds()),
            String::new(),
            known_size(self.peak_rss_bytes()),
            String::new(),
            String::new(),
        ]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}

fn row(stage: &Stage) -> [String; 6] {
    let rate = stage.tokens_per_s.map(|rate| count(rate.round() as u64));
    [
        stage.name.clone(),
        duration(stage.seconds),
        rate.unwrap_or_default(),
        known_size(stage.peak_rss_bytes),
        change(stage.loss.as_ref(), |loss| format!("{loss:.3}")),
        change(stage.size_bytes.as_ref(), |bytes| size(*bytes)),
    ]
}

/// Nothing for a size that the system did not say.
fn known_size(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => size(bytes),
    }
}

fn change<T, S: Display>(change: Option<&Change<T>>, format: impl Fn(&T) -> S) -> String {
    match change {
        None => String::new(),
        Some(Change {
            before: None,
            after,
        }) => format(after).to_string(),
        Some(Change {
            before: Some(before),
            after,
        }) => format!("{} → {}", format(before), format(after)),
    }
}
