//! Runs that learn which of two answers is better (DPO).

use std::path::PathBuf;

use firebox_data::{
    BrokenLimit, Preference, PreferencePair, SourceOptions, Sources, encode_preference,
    read_preferences, split_held_out,
};
use firebox_train::{
    Dpo, DpoConfig, Evaluation, Evaluator, Groups, LossError, Setup, TrainSummary,
};

use crate::cli::args::Globals;
use crate::cli::data::{self, locate};
use crate::cli::exit::UserError;
use crate::cli::model::{Linears, ModelFiles};
use crate::cli::output;

use super::Run;
use super::settings::TrainSettings;

/// Everything that a run needs before its first step.
pub(super) struct PreferenceInputs {
    base_name: String,
    model: Dpo,
    batches: Groups<PreferencePair>,
    held_out: Vec<PreferencePair>,
    setup: Setup,
}

impl PreferenceInputs {
    pub(super) fn open(
        globals: &Globals,
        settings: &TrainSettings,
        config: &DpoConfig,
    ) -> anyhow::Result<Self> {
        let (Some(from), Some(adapter)) = (&settings.model.from, &settings.adapter) else {
            let text = "`preferences`: expected `model.from` and `[adapter]` with it, found none";
            return Err(UserError(text.to_owned()).into());
        };
        let files = ModelFiles::open(globals, from)?;
        let data = &settings.data;
        let mut pairs = read(globals, data.source.as_deref().unwrap_or_default())?;
        let held_out = match &data.held_out {
            Some(held_out) => read(globals, held_out)?,
            None => {
                let split = split_held_out(pairs, data.n_held_out);
                pairs = split.training;
                split.held_out
            }
        };
        pairs.truncate(data.limit.unwrap_or(usize::MAX));
        let (pairs, held_out) = (
            encode(&files, pairs, data.seq_len)?,
            encode(&files, held_out, data.seq_len)?,
        );
        let order = data::order(data.shuffle, settings.seed);
        let batches = Groups::new(pairs, data.batch_size, order)
            .map_err(|error| UserError(format!("read preferences: {error}")))?;
        let model = files.decoder(&globals.device.open()?, Linears::Frozen)?;
        let model = settings
            .prepare(model)?
            .attach_lora(adapter, settings.seed)?;
        let setup = Setup {
            precision: Some(settings.precision.clone()),
            is_pretrained: true,
            wants_adapter: true,
            ..Setup::default()
        };
        Ok(Self {
            base_name: from.clone(),
            model: config.init(model)?,
            batches,
            held_out,
            setup,
        })
    }

    /// Trains; gives the summary and, if the run came to its end, where the adapter was written.
    pub(super) fn train(self, run: &Run<'_>) -> anyhow::Result<(TrainSummary, Option<PathBuf>)> {
        let Self {
            base_name,
            model,
            mut batches,
            held_out,
            setup,
        } = self;
        let mut held_out = HeldOutPairs(held_out);
        let (model, summary) = run.train(model, &mut batches, &mut held_out, setup)?;
        let Some(model) = model else {
            return Ok((summary, None));
        };
        let out = run.dir.join("adapter");
        if let Some(adapter) = model.model.adapter(&base_name) {
            firebox_checkpoint::write_adapter(&out, &adapter)?;
        }
        Ok((summary, Some(out)))
    }
}

fn read(globals: &Globals, source: &str) -> anyhow::Result<Vec<Preference>> {
    let path = locate(globals, source)?;
    let sources = Sources::list([path], SourceOptions::default())?;
    Ok(read_preferences(&sources, BrokenLimit::default())?)
}

/// Pairs whose answers fit into a row; half an answer says nothing of which is better.
fn encode(
    files: &ModelFiles,
    pairs: Vec<Preference>,
    max_len: usize,
) -> anyhow::Result<Vec<PreferencePair>> {
    let template = files.chat_template.as_ref().ok_or_else(|| {
        let text = "encode preferences: expected a model with a chat template, found none";
        UserError(text.to_owned())
    })?;
    let n_pairs = pairs.len();
    let mut encoded = Vec::with_capacity(n_pairs);
    for pair in &pairs {
        let pair = encode_preference(&files.tokenizer, template, pair)?;
        let fits =
            |row: &firebox_data::Example| row.input_ids.len() <= max_len && row.n_loss_tokens() > 0;
        if fits(&pair.chosen) && fits(&pair.rejected) {
            encoded.push(pair);
        }
    }
    let n_left_out = n_pairs - encoded.len();
    if n_left_out > 0 {
        output::note(format_args!(
            "{n_left_out} pairs are longer than a row or without answers and were left out"
        ));
    }
    Ok(encoded)
}

/// Scores held-out pairs while the model learns.
struct HeldOutPairs(Vec<PreferencePair>);

impl Evaluator<Dpo> for HeldOutPairs {
    fn evaluate(&mut self, model: &Dpo, _: usize) -> Result<Evaluation, LossError> {
        let report = model.evaluate(&self.0)?;
        let scores = [("accuracy", report.accuracy), ("margin", report.margin)];
        Ok(Evaluation {
            loss: report.loss,
            scores: scores.map(|(name, score)| (name.to_owned(), score)).into(),
            ..Evaluation::default()
        })
    }
}
