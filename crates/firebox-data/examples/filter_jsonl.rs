//! Counts the documents of some files that are long and speak of patients: reading at full speed.
//!
//! Run with: cargo run --release -p firebox-data --example filter_jsonl -- 2 pubmed.jsonl
//!
//! The first argument is the number of threads. The last line is, for instance,
//! `33278 documents, 12345 kept, 0 broken; 0.021 s, 2210 MB/s`. `benches/peers/data_read.py` asks
//! polars, DuckDB, datasets and pubmed_parser for the same.

use std::error::Error;
use std::io::{Write, stdout};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use firebox_data::{
    Blocks, BrokenCount, BrokenLimit, Document, SourceError, SourceOptions, Sources,
};
use memchr::memmem::Finder;

/// What one thread found.
struct Found {
    n_kept: u64,
    n_skipped: u64,
    n_bytes: u64,
    count: BrokenCount,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let n_threads: usize = arguments
        .next()
        .ok_or("expected a number of threads, found none")?
        .parse()?;
    let sources = Sources::list(arguments, SourceOptions::default())?;
    let start = Instant::now();
    let blocks = Mutex::new(sources.blocks());
    let found = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads.max(1))
            .map(|_| scope.spawn(|| work(&blocks)))
            .collect();
        let results = workers.into_iter().map(|worker| worker.join());
        results
            .map(|result| result.map_err(|_| "a thread panicked".into()))
            .collect::<Result<Vec<_>, Box<dyn Error>>>()
    })?;
    let mut total = Found::new();
    for part in found {
        let part = part?;
        total.n_kept += part.n_kept;
        total.n_skipped += part.n_skipped;
        total.n_bytes += part.n_bytes;
        total.count.merge(part.count);
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        stdout(),
        "{} documents, {} kept, {} broken, {} skipped; {seconds:.3} s, {:.0} MB/s",
        total.count.n_records(),
        total.n_kept,
        total.count.n_broken(),
        total.n_skipped,
        total.n_bytes as f64 / 1e6 / seconds
    )?;
    Ok(())
}

/// Takes blocks until there are no more.
fn work(blocks: &Mutex<Blocks>) -> Result<Found, SourceError> {
    let finder = Finder::new("patient");
    let mut found = Found::new();
    loop {
        // The lock is held while a block is read, and let go before it is parsed.
        let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(block) = next else { return Ok(found) };
        let block = block?;
        found.n_bytes += block.n_bytes() as u64;
        let mut documents = block.documents();
        for document in documents.by_ref() {
            if let Some(document) = found.count.check(document) {
                found.n_kept += u64::from(keeps(&document, &finder));
            }
        }
        found.n_skipped += documents.n_skipped();
    }
}

fn keeps(document: &Document<'_>, finder: &Finder<'_>) -> bool {
    let text = &*document.text;
    text.len() > 1000 && text.chars().count() > 1000 && finder.find(text.as_bytes()).is_some()
}

impl Found {
    fn new() -> Self {
        Self {
            n_kept: 0,
            n_skipped: 0,
            n_bytes: 0,
            count: BrokenCount::new(BrokenLimit::default()),
        }
    }
}
