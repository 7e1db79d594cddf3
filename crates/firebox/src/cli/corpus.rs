//! `firebox data`: corpora.

mod args;
mod clean;
mod dedup;
mod inspect;
mod pack;
mod page;
mod stats;

use std::path::PathBuf;

use firebox_data::{
    AbstractStyle, Block, BrokenLimit, FieldNames, InputConfig, SourceOptions, Sources,
};
use indicatif::ProgressBar;

pub(crate) use args::DataCommand;

use self::args::InputArgs;
use super::args::Globals;
use super::data::locate;
use super::exit::UserError;
use super::progress;

/// Runs the verb that was asked for.
pub(crate) fn run(globals: &Globals, command: &DataCommand) -> anyhow::Result<()> {
    match command {
        DataCommand::Inspect(args) => inspect::run(globals, args),
        DataCommand::Clean(args) => clean::run(globals, args),
        DataCommand::Dedup(args) => dedup::run(globals, args),
        DataCommand::Stats(args) => stats::run(globals, args),
        DataCommand::Pack(args) => pack::run(globals, args),
    }
}

/// The files that the command line names, or else the recipe; fetched where they are elsewhere.
fn sources(globals: &Globals, args: &InputArgs, recipe: &InputConfig) -> anyhow::Result<Sources> {
    let named = match args.data.is_empty() {
        true => &recipe.data,
        false => &args.data,
    };
    if named.is_empty() {
        let text = "find data: expected files on the command line or `data` in the recipe's \
                    `[input]`, found neither";
        return Err(UserError(text.to_owned()).into());
    }
    let paths: Result<Vec<PathBuf>, _> = named
        .iter()
        .map(|name| match name.as_str() {
            "-" => Ok(PathBuf::from(name)),
            name => locate(globals, name),
        })
        .collect();
    let defaults = FieldNames::default();
    let fields = FieldNames {
        text: args
            .text_field
            .clone()
            .or_else(|| recipe.text_field.clone())
            .unwrap_or(defaults.text.clone()),
        id: recipe.id_field.clone().or_else(|| defaults.id.clone()),
        ..defaults
    };
    let options = SourceOptions {
        format: args.format,
        fields,
        abstract_style: match recipe.joined_abstracts {
            true => AbstractStyle::Joined,
            false => AbstractStyle::Labelled,
        },
        ..SourceOptions::default()
    };
    Ok(Sources::list(paths?, options)?)
}

/// How many broken records are too many.
fn broken_limit(args: &InputArgs, recipe: &InputConfig) -> BrokenLimit {
    BrokenLimit {
        max_share: args.max_broken_share.unwrap_or(recipe.max_broken_share),
        ..BrokenLimit::default()
    }
}

/// The template of a bar while files are read.
const READING: &str = "read {bytes} / {total_bytes} {bytes_per_sec} {wide_bar} {msg}";

/// A bar over the files' bytes, as they are on disk.
fn reading_bar(sources: &Sources) -> ProgressBar {
    let bar = match sources.total_bytes() {
        Some(n_bytes) => ProgressBar::new(n_bytes),
        None => ProgressBar::no_length(),
    };
    bar.with_style(progress::style(READING))
}

/// The blocks of the files; the bar follows.
fn watched_blocks(
    sources: &Sources,
    bar: &ProgressBar,
) -> impl Iterator<Item = anyhow::Result<Block>> + Send {
    let (mut blocks, bar) = (sources.blocks(), bar.clone());
    std::iter::from_fn(move || {
        let block = blocks.next()?;
        bar.set_position(blocks.n_bytes_read());
        Some(block.map_err(Into::into))
    })
}
