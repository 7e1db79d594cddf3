//! Results on stdout.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// Whether this process says what it notices: of several that train together, one does.
static SPEAKS: AtomicBool = AtomicBool::new(true);

/// From now on [`note`] says nothing.
pub(crate) fn fall_silent() {
    SPEAKS.store(false, Ordering::Relaxed);
}

/// Something that the user did not ask for and should know, on stderr.
pub(crate) fn note(text: impl Display) {
    if SPEAKS.load(Ordering::Relaxed) {
        eprintln!("note: {text}");
    }
}

/// Prints `result` as one JSON object, or as `text` says it.
pub(crate) fn print(
    json: bool,
    result: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let mut line = if json {
        serde_json::to_string(result)?
    } else {
        text()
    };
    line.push('\n');
    write(&line)
}

/// Writes text as it comes. A reader that has gone away is no error: the program ends quietly.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// A table without lines, its columns under these names.
pub(crate) fn table(columns: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::TableStyle::new())
        .set_content_arrangement(comfy_table::ContentArrangement::Disabled)
        .set_header(columns.to_vec());
    table
}

/// Bytes in the unit that reads best.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.0} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}
