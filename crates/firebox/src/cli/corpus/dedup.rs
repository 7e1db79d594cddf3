//! `firebox data dedup`.

use firebox_data::{DedupConfig, MinHashConfig, Recipe};

use super::args::DedupArgs;
use super::clean::clean_and_report;
use super::{broken_limit, sources};
use crate::cli::args::Globals;

pub(crate) fn run(globals: &Globals, args: &DedupArgs) -> anyhow::Result<()> {
    let mut recipe = Recipe::default();
    recipe.dedup = Some(DedupConfig {
        find: args.find,
        keep: args.keep,
        near: MinHashConfig {
            min_estimated_jaccard: args.min_jaccard,
            ..MinHashConfig::default()
        },
        ..DedupConfig::default()
    });
    let sources = sources(globals, &args.input, &recipe.input)?;
    let broken = broken_limit(&args.input, &recipe.input);
    clean_and_report(globals, &recipe, &sources, broken, &args.out)
}
