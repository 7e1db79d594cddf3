//! Numbers as horizontal bars, in inline SVG.

use std::fmt::Write as _;

use crate::report::escape;

/// The drawing's own units.
const WIDTH: f64 = 640.0;
const ROW: f64 = 26.0;
const LABELS: f64 = 190.0;
const VALUES: f64 = 150.0;

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    /// How long it is.
    pub(crate) value: f64,
    /// Said behind it.
    pub(crate) text: String,
}

impl Bar {
    /// Of a count, with a note behind it that may be empty.
    pub(crate) fn count(label: impl Into<String>, n: u64, note: &str) -> Self {
        let text = match note {
            "" => n.to_string(),
            note => format!("{n} · {note}"),
        };
        Self {
            label: label.into(),
            value: n as f64,
            text,
        }
    }
}

/// Draws them one below the other, the longest as wide as there is room.
pub(crate) fn bars(title: &str, rows: &[Bar]) -> String {
    let height = ROW * rows.len() as f64 + 4.0;
    let most = rows.iter().map(|row| row.value).fold(0.0, f64::max);
    let mut svg = format!(
        "<svg class=\"bars\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(title)
    );
    for (i, row) in rows.iter().enumerate() {
        let (top, room) = (ROW * i as f64, WIDTH - LABELS - VALUES);
        let width = if most > 0.0 {
            room * row.value / most
        } else {
            0.0
        };
        let middle = top + ROW / 2.0 + 5.0;
        let _ = writeln!(
            svg,
            "<text class=\"tick end\" x=\"{x}\" y=\"{middle:.1}\">{label}</text>\
             <rect class=\"bar\" x=\"{LABELS}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{h}\" rx=\"3\" />\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{middle:.1}\">{text}</text>",
            x = LABELS - 8.0,
            label = escape(&row.label),
            y = top + 4.0,
            h = ROW - 8.0,
            at = LABELS + width + 8.0,
            text = escape(&row.text),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
