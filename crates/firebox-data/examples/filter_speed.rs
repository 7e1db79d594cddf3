//! How fast each rule, and each recipe, runs over a text file on one core.
//!
//! Run with: `cargo run --release -p firebox-data --example filter_speed -- texts.jsonl [recipe.toml ..]`
//! The last lines read like `web-en.toml: 62.3 MB/s, kept 28114 of 33278`.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use firebox_data::filter::{Outcome, RuleConfig, Rules, WordCounting};
use firebox_data::{Document, Recipe, Record, read_records};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("expected a file of texts, found none")?;
    let mut texts = Vec::new();
    for record in read_records(Path::new(&path))? {
        if let Record::Text(record) = record? {
            texts.push(record.text);
        }
    }
    measure_reference(&texts);
    for kind in RuleConfig::KINDS
        .iter()
        .filter(|kind| **kind != "mesh-terms")
    {
        let config = RuleConfig::with_defaults(kind).ok_or("every kind has defaults")?;
        measure(
            kind,
            &Rules::new(&[config], WordCounting::default())?,
            &texts,
        );
    }
    for recipe in arguments {
        let rules = Recipe::from_toml(&std::fs::read_to_string(&recipe)?)?.build_rules()?;
        let name = Path::new(&recipe).file_name().unwrap_or_default();
        measure(&name.to_string_lossy(), &rules, &texts);
    }
    Ok(())
}

/// Prints how fast the standard library counts words, to compare the rules with on a busy machine.
#[expect(clippy::print_stdout, reason = "an example prints its result")]
fn measure_reference(texts: &[String]) {
    let n_bytes: usize = texts.iter().map(String::len).sum();
    let mut best_seconds = f64::INFINITY;
    let mut n_words: usize = 0;
    for _ in 0..5 {
        let start = Instant::now();
        n_words = texts
            .iter()
            .map(|text| text.split_whitespace().count())
            .sum();
        best_seconds = best_seconds.min(start.elapsed().as_secs_f64());
    }
    println!(
        "split_whitespace: {:.1} MB/s, {n_words} words",
        n_bytes as f64 / best_seconds / 1e6
    );
}

/// Prints the best of five runs.
#[expect(clippy::print_stdout, reason = "an example prints its result")]
fn measure(name: &str, rules: &Rules, texts: &[String]) {
    let n_bytes: usize = texts.iter().map(String::len).sum();
    let mut best_seconds = f64::INFINITY;
    let mut n_kept = 0;
    for _ in 0..5 {
        let start = Instant::now();
        let kept = texts.iter().filter(|text| {
            let document = Document {
                text: text.as_str().into(),
                ..Document::default()
            };
            matches!(rules.apply(document), Outcome::Kept(_))
        });
        n_kept = kept.count();
        best_seconds = best_seconds.min(start.elapsed().as_secs_f64());
    }
    let speed = n_bytes as f64 / best_seconds / 1e6;
    println!("{name}: {speed:.1} MB/s, kept {n_kept} of {}", texts.len());
}
