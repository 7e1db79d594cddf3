//! Runs that put a new head on a decoder.

use std::path::PathBuf;

use firebox_checkpoint::{Checkpoint, Dtype};
use firebox_data::split_held_out;
use firebox_model::{HeadTask, SequenceClassifier};
use firebox_train::{LabelledBatch, LabelledBatches, Setup, TrainSummary};

use crate::cli::args::{DataArgs, Globals};
use crate::cli::data;
use crate::cli::exit::UserError;
use crate::cli::head_scores::HeadHeldOut;
use crate::cli::labelled;
use crate::cli::model::{Linears, ModelFiles};
use crate::cli::output;
use crate::cli::save;

use super::Run;
use super::settings::{DataSettings, HeadSettings, TrainSettings};

/// Everything that a run needs before its first step.
pub(super) struct HeadInputs {
    /// Where the decoder's checkpoint is; see `RunFiles::origin`.
    origin: PathBuf,
    base_name: String,
    model: SequenceClassifier,
    batches: LabelledBatches,
    held_out: LabelledBatch,
    setup: Setup,
}

impl HeadInputs {
    pub(super) fn open(
        globals: &Globals,
        settings: &TrainSettings,
        head: &HeadSettings,
    ) -> anyhow::Result<Self> {
        let device = globals.device.open()?;
        let Some(from) = &settings.model.from else {
            return Err(UserError("`model.from`: expected a model, found none".into()).into());
        };
        let files = ModelFiles::open(globals, from)?;
        let decoder = files.decoder(&device, Linears::with_adapter(settings.adapter.is_some()))?;
        let decoder = settings.prepare(decoder)?;
        let (texts, held_out) = texts(globals, &settings.data, head)?;
        let labels = match (head.labels.as_slice(), head.task) {
            ([], HeadTask::Regression) => vec![head.field.clone()],
            ([], _) => labelled::labels_of(&texts),
            (labels, _) => labels.to_vec(),
        };
        let max_len = settings.data.seq_len;
        let batch = |texts, what: &str| -> anyhow::Result<LabelledBatch> {
            let (batch, n_left_out) =
                labelled::batch(texts, &files.tokenizer, head.task, &labels, max_len)?;
            if n_left_out > 0 {
                output::note(format_args!(
                    "{n_left_out} {what} records do not fit the head and were left out"
                ));
            }
            Ok(batch)
        };
        let (training, held_out) = (batch(texts, "training")?, batch(held_out, "held-out")?);
        if settings.train.evaluation.is_some() && held_out.documents.is_empty() {
            let text =
                "read held-out records: expected at least one that fits the head, found none";
            return Err(UserError(text.to_owned()).into());
        }
        output::note(format_args!(
            "{} documents to train on, {} held out, {} outputs",
            training.documents.len(),
            held_out.documents.len(),
            labels.len()
        ));
        let setup = Setup {
            precision: Some(settings.precision.clone()),
            vocab_size: Some(decoder.config().vocab_size),
            tokenizer_vocab_size: Some(files.tokenizer.vocab_size()),
            wants_adapter: settings.adapter.is_some(),
            ..Setup::default()
        };
        let model = SequenceClassifier::new(decoder, head.task, labels, settings.seed)?;
        let model = match &settings.adapter {
            Some(adapter) => model.attach_lora(adapter, settings.seed)?,
            None => model.train_part(head.trained.unwrap_or_default())?,
        };
        let order = data::order(settings.data.shuffle, settings.seed);
        let batches = LabelledBatches::new(training, settings.data.batch_size, order)
            .map_err(|error| UserError(format!("read training records: {error}")))?;
        Ok(Self {
            origin: files.checkpoint.path().to_path_buf(),
            base_name: from.clone(),
            model,
            batches,
            held_out,
            setup,
        })
    }

    /// Trains; gives the summary and, if the run came to its end, where the model was written.
    pub(super) fn train(self, run: &Run<'_>) -> anyhow::Result<(TrainSummary, Option<PathBuf>)> {
        let Self {
            origin,
            base_name,
            model,
            mut batches,
            held_out,
            setup,
        } = self;
        let mut held_out = HeadHeldOut(held_out);
        let (model, summary) = run.train(model, &mut batches, &mut held_out, setup)?;
        let Some(model) = model else {
            return Ok((summary, None));
        };
        if let Some(adapter) = model.adapter(&base_name) {
            firebox_checkpoint::write_adapter(&run.dir.join("adapter"), &adapter)?;
        }
        // An adapter's file does not say what the outputs mean: the model's does.
        let out = run.dir.join("model");
        save::classifier(
            &model.into_merged()?,
            &Checkpoint::open(&origin)?,
            &out,
            Dtype::F32,
        )?;
        Ok((summary, Some(out)))
    }
}

/// Texts to train on, and those that are scored.
fn texts(
    globals: &Globals,
    data: &DataSettings,
    head: &HeadSettings,
) -> anyhow::Result<(
    Vec<firebox_data::LabelledText>,
    Vec<firebox_data::LabelledText>,
)> {
    let selection = |years: &Option<String>| {
        data::selection(&DataArgs {
            data: String::new(),
            years: years.clone(),
            longer_than: data.longer_than,
            shorter_than: data.shorter_than,
            limit: None,
        })
    };
    let read =
        |source: &str, selection: &_| labelled::read(globals, source, &head.field, selection);
    let source = data.source.as_deref().unwrap_or_default();
    let (every_year, trained) = (selection(&None)?, selection(&data.years)?);
    let (mut training, held_out) = match (&data.held_out, &data.held_out_years) {
        (Some(held_out), _) => (read(source, &trained)?, read(held_out, &every_year)?),
        (None, Some(_)) => {
            let is_held_out = selection(&data.held_out_years)?;
            let texts = read(source, &every_year)?.into_iter();
            let (held_out, mut rest): (Vec<_>, Vec<_>) =
                texts.partition(|text| is_held_out.keeps(&text.record));
            rest.retain(|text| trained.keeps(&text.record));
            (rest, held_out)
        }
        (None, None) => {
            let split = split_held_out(read(source, &trained)?, data.n_held_out);
            (split.training, split.held_out)
        }
    };
    training.truncate(data.limit.unwrap_or(usize::MAX));
    Ok((training, held_out))
}
