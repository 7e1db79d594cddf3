//! Counts as horizontal bars, in inline SVG.

use std::fmt::Write as _;

use crate::report::escape;

/// The drawing's own units.
const WIDTH: f64 = 640.0;
const ROW: f64 = 26.0;
const LABELS: f64 = 190.0;
const VALUES: f64 = 150.0;

/// One bar.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: u64,
    /// Said behind the value.
    pub(super) note: String,
}

/// Draws them one below the other, the longest as wide as there is room.
pub(super) fn bars(title: &str, rows: &[Bar]) -> String {
    let height = ROW * rows.len() as f64 + 4.0;
    let most = rows.iter().map(|row| row.value).max().unwrap_or(0).max(1) as f64;
    let mut svg = format!(
        "<svg class=\"bars\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(title)
    );
    for (i, row) in rows.iter().enumerate() {
        let (top, room) = (ROW * i as f64, WIDTH - LABELS - VALUES);
        let width = room * row.value as f64 / most;
        let middle = top + ROW / 2.0 + 5.0;
        let note = match row.note.as_str() {
            "" => String::new(),
            note => format!(" · {note}"),
        };
        let _ = writeln!(
            svg,
            "<text class=\"tick end\" x=\"{x}\" y=\"{middle:.1}\">{label}</text>\
             <rect class=\"bar\" x=\"{LABELS}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{h}\" rx=\"3\" />\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{middle:.1}\">{value}{note}</text>",
            x = LABELS - 8.0,
            label = escape(&row.label),
            y = top + 4.0,
            h = ROW - 8.0,
            at = LABELS + width + 8.0,
            value = row.value,
            note = escape(&note),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
