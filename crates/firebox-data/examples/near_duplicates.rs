//! Near-duplicates of a corpus in memory: how many, how many of them wrongly, and how fast.
//!
//! Run with: cargo run --release -p firebox-data --example near_duplicates -- FILE.jsonl [THREADS] [RUNS]
//!
//! Timed is all from the texts, one string each, to the list of documents that stay: simplifying, n-grams
//! of five words, 112 permutations, 14 bands, exact hashes, clusters. The first run is not counted.

use std::borrow::Cow;
use std::error::Error;
use std::io::{Write, stdout};
use std::time::Instant;

use firebox_data::{DedupConfig, DedupReport, Record, deduplicate, read_records};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data = arguments.next().ok_or("expected a data file")?;
    let n_threads = arguments.next().map_or(Ok(2), |n| n.parse())?;
    let n_runs: usize = arguments.next().map_or(Ok(5), |n| n.parse())?;
    let mut out = stdout().lock();

    let mut texts = Vec::new();
    for record in read_records(&data)? {
        if let Record::Text(document) = record? {
            texts.push(document.text);
        }
    }
    let config = DedupConfig::default();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()?;
    let deduplicate = || pool.install(|| deduplicate(&texts, &config));
    let clusters = deduplicate()?;

    let mut seconds = Vec::new();
    for _ in 0..n_runs.max(1) {
        let start = Instant::now();
        let n_kept = deduplicate()?.n_kept();
        seconds.push(start.elapsed().as_secs_f64());
        assert_eq!(n_kept, clusters.n_kept(), "clusters depend on the run");
    }
    seconds.sort_by(f64::total_cmp);
    let (least, median, most) = (
        seconds[0],
        seconds[seconds.len() / 2],
        seconds[seconds.len() - 1],
    );
    let n_bytes: usize = texts.iter().map(String::len).sum();
    writeln!(
        out,
        "firebox, {n_threads} threads: {:.0} documents/s, {:.1} MB/s ({median:.3} s, {least:.3} to \
         {most:.3} in {n_runs} runs)",
        texts.len() as f64 / median,
        n_bytes as f64 / 1e6 / median,
    )?;

    let mut report = DedupReport::new(&clusters);
    let text_of = |i: u64| {
        texts
            .get(i as usize)
            .map(|text| Cow::Borrowed(text.as_str()))
    };
    report.check(&config, &clusters.sample(&config.check), text_of)?;
    writeln!(
        out,
        "{} documents, {} kept, {} exact and {} near duplicates in {} clusters",
        report.n_documents, report.n_kept, report.n_exact, report.n_near, report.n_clusters
    )?;
    if let Some(checked) = &report.checked {
        writeln!(
            out,
            "{} of {} merged pairs below a Jaccard similarity of {}",
            checked.n_false_merges, checked.n_pairs, checked.false_merge_below
        )?;
        for pair in &checked.shown {
            writeln!(out, "  {:.3}: {}", pair.jaccard, pair.dropped_text)?;
            writeln!(out, "         {}", pair.kept_text)?;
        }
    }
    Ok(())
}
