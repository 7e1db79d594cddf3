//! The loop on a given checkpoint and given texts.

use std::collections::BTreeMap;

use firebox_data::{Example, Message, TextRecord};

use crate::loop_report::{Change, StageKind};

use super::super::args::{DataArgs, Globals, LoopArgs};
use super::super::data::{self, Records};
use super::super::exit::UserError;
use super::super::finetune;
use super::super::model::{self, ModelFiles};
use super::round::{Question, Round};
use super::run::Run;

/// Tokens of a held-out text that are scored.
const SCORED_TOKENS: usize = 256;
/// A year with a smaller share of the records is left out unless it is asked for.
const COMMON_YEAR: f64 = 0.01;
/// What the model is asked before and after.
const QUESTIONS: [&str; 2] = [
    "What is the capital of France?",
    "What does a randomized controlled trial compare?",
];

/// Fetches, reads, splits and tokenizes.
pub(super) fn prepare(
    globals: &Globals,
    args: &LoopArgs,
    model: &str,
    data: &str,
    run: &mut Run<'_>,
) -> anyhow::Result<Round> {
    let base = run.stage(StageKind::Load, "load", |stage| {
        let base = model::fetch(globals, model)?;
        let files = ModelFiles::from_path(&base)?;
        stage.size_bytes = Some(Change::only(files.checkpoint.size_bytes()));
        Ok(base)
    })?;
    let files = ModelFiles::from_path(&base)?;
    check(&files, args)?;
    let (batches, scored) = run.stage(StageKind::Data, "tokenize", |stage| {
        let start = std::time::Instant::now();
        let (mut training, held_out) = split(data::read(globals, &data_args(args, data))?, args);
        finetune::limit(&mut training, Some(args.limit));
        let scored = examples(&files, &held_out)?;
        let batches = data::batches(&files, &training, &args.training)?;
        let n_tokens = batches.n_tokens() as f64;
        stage.tokens_per_s = Some(n_tokens / start.elapsed().as_secs_f64());
        Ok((batches, scored))
    })?;
    let questions = QUESTIONS.iter().map(|&text| Question {
        messages: vec![Message::user(text)],
        expected: None,
        max_new_tokens: 40,
    });
    Ok(Round {
        title: format!("{model} on {data}"),
        base,
        base_name: model.to_owned(),
        training: finetune::train_config(&args.training),
        lora: finetune::lora_config(&args.training),
        seed: args.training.seed,
        scored_what: format!(
            "{} held-out records, at most {SCORED_TOKENS} tokens each",
            scored.len()
        ),
        scored,
        batches,
        questions: questions.collect(),
    })
}

/// What would otherwise fail minutes later.
fn check(files: &ModelFiles, args: &LoopArgs) -> anyhow::Result<()> {
    finetune::train_config(&args.training).validate()?;
    data::check_sizes(files, &args.training)?;
    let config = files.checkpoint.config();
    if config.get("firebox_quantization").is_some() {
        let wrong = "run the loop: expected a model with dense weights, found packed ones (hint: the loop packs them itself)";
        return Err(UserError(wrong.into()).into());
    }
    Ok(())
}

fn data_args(args: &LoopArgs, data: &str) -> DataArgs {
    DataArgs {
        data: data.to_owned(),
        years: args.years.clone(),
        longer_than: Some(args.longer_than),
        shorter_than: Some(args.shorter_than),
        limit: None,
    }
}

/// Training and held-out records. Conversations are split in the same way, but have no years.
fn split(mut records: Records, args: &LoopArgs) -> (Records, Records) {
    if let Records::Texts(texts) = &mut records
        && args.years.is_none()
    {
        keep_common_years(texts);
    }
    let (training, mut held_out) = records.hold_out(args.held_out);
    finetune::limit(&mut held_out, Some(args.scored));
    (training, held_out)
}

/// Where most records are dated, keeps those of years that hold a share worth learning from.
fn keep_common_years(texts: &mut Vec<TextRecord>) {
    let mut counts = BTreeMap::<u16, usize>::new();
    for year in texts.iter().filter_map(|text| text.year) {
        *counts.entry(year).or_default() += 1;
    }
    let dated: usize = counts.values().sum();
    let n_common = counts
        .values()
        .filter(|n| **n as f64 >= COMMON_YEAR * dated as f64)
        .count();
    if dated * 2 > texts.len() && n_common > 0 {
        let common = |year| counts[&year] as f64 >= COMMON_YEAR * dated as f64;
        texts.retain(|text| text.year.is_some_and(common));
    }
}

/// Held-out rows of at most [`SCORED_TOKENS`], or what the context takes.
fn examples(files: &ModelFiles, records: &Records) -> anyhow::Result<Vec<Example>> {
    let context = files.checkpoint.config()["max_position_embeddings"].as_u64();
    let longest = context.map_or(SCORED_TOKENS, |n| SCORED_TOKENS.min(n as usize));
    records.scored_rows(&files.tokenizer, files.chat_template.as_ref(), longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_years_and_undated_records_are_left_out_of_dated_ones() {
        let text = |year| TextRecord {
            year,
            ..TextRecord::default()
        };
        let mut texts = vec![text(Some(1977)); 150];
        texts.extend([
            text(Some(1976)),
            text(None),
            text(Some(1978)),
            text(Some(1978)),
        ]);
        keep_common_years(&mut texts);
        assert_eq!(texts.len(), 152);
        let mut undated = vec![text(None), text(None), text(Some(1977))];
        keep_common_years(&mut undated);
        assert_eq!(undated.len(), 3);
    }
}
