//! `firebox data stats`.

use std::collections::BTreeMap;
use std::time::Instant;

use firebox_data::filter::identify_language;
use firebox_data::{
    Block, BrokenCount, BrokenLimit, Document, FastEncoder, Histogram, InputConfig, in_order,
};
use serde::Serialize;

use super::args::StatsArgs;
use super::{broken_limit, reading_bar, sources, watched_blocks};
use crate::cli::args::Globals;
use crate::cli::model::TokenizerFiles;
use crate::cli::output::{self, bytes};

/// Counts over a corpus.
#[derive(Serialize, Default)]
struct Statistics {
    n_documents: u64,
    n_broken: u64,
    n_without_text: u64,
    n_bytes: u64,
    n_characters: u64,
    n_tokens: Option<u64>,
    /// Characters of a document, by powers of two.
    lengths: Histogram,
    languages: BTreeMap<&'static str, u64>,
    years: BTreeMap<u16, u64>,
    seconds: f64,
}

pub(crate) fn run(globals: &Globals, args: &StatsArgs) -> anyhow::Result<()> {
    let config = InputConfig::default();
    let sources = sources(globals, &args.input, &config)?;
    let encoder = match &args.tokenizer {
        Some(name) => Some(FastEncoder::from_tokenizer(
            &TokenizerFiles::open(globals, name)?.tokenizer,
        )),
        None => None,
    };
    let start = Instant::now();
    let bar = reading_bar(&sources);
    let mut total = Statistics::default();
    let mut broken = BrokenCount::new(broken_limit(&args.input, &config));
    in_order(
        rayon::current_num_threads(),
        watched_blocks(&sources, &bar),
        |block| count(&block, encoder.as_ref()),
        |(counted, broken_ones)| {
            total.add(counted);
            broken.merge(broken_ones);
            bar.set_message(format!("{} documents", total.n_documents));
            Ok(broken.check_limit()?)
        },
    )?;
    bar.finish_and_clear();
    broken.check_at_end()?;
    total.n_broken = broken.n_broken();
    total.seconds = start.elapsed().as_secs_f64();
    output::print(globals.json, &total, || total.text())
}

fn count(
    block: &Block,
    encoder: Option<&FastEncoder>,
) -> anyhow::Result<(Statistics, BrokenCount)> {
    let mut counted = Statistics {
        n_tokens: encoder.map(|_| 0),
        ..Statistics::default()
    };
    let mut broken = BrokenCount::new(BrokenLimit::default());
    let mut ids = Vec::new();
    let mut documents = block.documents();
    for document in &mut documents {
        let Some(document) = broken.check(document) else {
            continue;
        };
        counted.count(&document);
        if let (Some(n_tokens), Some(encoder)) = (&mut counted.n_tokens, encoder) {
            ids.clear();
            encoder.encode_into(&document.text, &mut ids)?;
            *n_tokens += ids.len() as u64;
        }
    }
    counted.n_without_text = documents.n_skipped();
    Ok((counted, broken))
}

impl Statistics {
    fn count(&mut self, document: &Document<'_>) {
        let n_characters = document.text.chars().count() as u64;
        self.n_documents += 1;
        self.n_bytes += document.text.len() as u64;
        self.n_characters += n_characters;
        self.lengths.add(n_characters);
        let language = identify_language(&document.text).code;
        *self.languages.entry(language).or_default() += 1;
        if let Some(year) = document.year {
            *self.years.entry(year).or_default() += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.n_documents += other.n_documents;
        self.n_without_text += other.n_without_text;
        self.n_bytes += other.n_bytes;
        self.n_characters += other.n_characters;
        if let Some(n_tokens) = other.n_tokens {
            *self.n_tokens.get_or_insert(0) += n_tokens;
        }
        self.lengths.merge(&other.lengths);
        for (language, n) in other.languages {
            *self.languages.entry(language).or_default() += n;
        }
        for (year, n) in other.years {
            *self.years.entry(year).or_default() += n;
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!(
            "{} documents, {} broken, {} without text\n{} in {} characters",
            self.n_documents,
            self.n_broken,
            self.n_without_text,
            bytes(self.n_bytes),
            self.n_characters,
        )];
        if let Some(n_tokens) = self.n_tokens {
            let per_token = self.n_bytes as f64 / n_tokens.max(1) as f64;
            lines.push(format!("{n_tokens} tokens, {per_token:.2} bytes each"));
        }
        let mut languages: Vec<_> = self.languages.iter().collect();
        languages.sort_by_key(|(code, n)| (std::cmp::Reverse(**n), **code));
        let languages = languages
            .iter()
            .take(10)
            .map(|(code, n)| format!("{code} {n}"));
        lines.push(format!(
            "languages: {}",
            languages.collect::<Vec<_>>().join(", ")
        ));
        if let (Some((first, _)), Some((last, _))) =
            (self.years.first_key_value(), self.years.last_key_value())
        {
            lines.push(format!("years: {first} to {last}"));
        }
        lines.push("characters of a document:".to_owned());
        for (place, n) in self
            .lengths
            .counts()
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
        {
            let below = 1_u64.checked_shl(place as u32).unwrap_or(u64::MAX);
            lines.push(format!("  {:>9} to {:>9}: {n}", below / 2, below - 1));
        }
        let rate = self.n_bytes as f64 / 1e6 / self.seconds.max(1e-9);
        lines.push(format!("{:.1} s, {rate:.0} MB/s", self.seconds));
        lines.join("\n")
    }
}
