//! From a base model on: score, adapt, merge, quantize, serve.

use std::path::{Path, PathBuf};

use firebox_checkpoint::{Checkpoint, Dtype};
use firebox_data::{Example, Message};
use firebox_model::{GenerateConfig, Llama, LoraConfig, SamplingConfig};
use firebox_quant::{QuantConfig, quantize_checkpoint};
use firebox_tensor::packed::PackedFormat;
use firebox_train::TrainConfig;

use crate::loop_report::{Change, Curve, Quality, StageKind};

use super::super::data::Batches;
use super::super::finetune;
use super::super::generate::generate;
use super::super::model::Trainable;
use super::super::{progress, save};
use super::run::Run;
use super::serve_once;

/// What one round needs.
pub(super) struct Round {
    /// The page's title.
    pub(super) title: String,
    /// The base model: a directory or a file.
    pub(super) base: PathBuf,
    /// What the adapter's config says it belongs to.
    pub(super) base_name: String,
    pub(super) batches: Batches,
    pub(super) training: TrainConfig,
    pub(super) lora: LoraConfig,
    pub(super) seed: u64,
    /// Held-out rows that every model is scored on.
    pub(super) scored: Vec<Example>,
    /// What they are, for the reader.
    pub(super) scored_what: String,
    /// Questions that every model answers.
    pub(super) questions: Vec<Question>,
}

/// A question, and the answer that a person would give.
pub(super) struct Question {
    pub(super) messages: Vec<Message>,
    pub(super) expected: Option<String>,
    pub(super) max_new_tokens: usize,
}

/// One version of the model: its score, its size, and its answer to each question.
pub(super) struct Version {
    pub(super) quality: Quality,
    pub(super) answers: Vec<String>,
}

/// The round's figures and texts.
pub(super) struct Results {
    pub(super) title: String,
    pub(super) versions: Vec<Version>,
    pub(super) questions: Vec<Question>,
    pub(super) scored_what: String,
    pub(super) base_name: String,
    pub(super) training: TrainConfig,
    pub(super) lora: LoraConfig,
}

impl Round {
    pub(super) fn run(mut self, run: &mut Run<'_>) -> anyhow::Result<Results> {
        let device = run.device;
        let (loaded, base) = run.stage(StageKind::Evaluate, "evaluate", |stage| {
            let loaded = Trainable::from_path(&self.base, device)?;
            let version = self.version("base", None, &loaded)?;
            stage.loss = Some(Change::only(version.quality.nll));
            stage.note = Some(format!("Scored on {}.", self.scored_what));
            Ok((loaded, version))
        })?;
        let (loaded, adapted) = self.finetune(loaded, base.quality.nll, run)?;
        let before = adapted.quality.nll;
        let merged = merge(loaded, run)?;
        let mut versions = vec![base, adapted];
        for format in [PackedFormat::Nf4, PackedFormat::Int8Rowwise] {
            versions.push(self.quantize(format, &merged, before, run)?);
        }
        self.serve(PackedFormat::Int8Rowwise, run)?;
        Ok(Results {
            title: self.title,
            versions,
            questions: self.questions,
            scored_what: self.scored_what,
            base_name: self.base_name,
            training: self.training,
            lora: self.lora,
        })
    }

    /// Trains the adapter, writes it, scores the adapted model.
    fn finetune(
        &mut self,
        loaded: Trainable,
        before: f64,
        run: &mut Run<'_>,
    ) -> anyhow::Result<(Trainable, Version)> {
        let (folder, mut losses) = (run.folder, Vec::new());
        let result = run.stage(StageKind::Finetune, "fine-tune (LoRA)", |stage| {
            let model = loaded.model.attach_lora(&self.lora, self.seed)?;
            let (model, summary) = finetune::train_all(model, &mut self.batches, &self.training)?;
            losses = summary.steps.iter().map(|step| step.loss).collect();
            if let Some(adapter) = model.adapter(&self.base_name) {
                firebox_checkpoint::write_adapter(&folder.path().join("adapter"), &adapter)?;
            }
            let loaded = Trainable {
                files: loaded.files,
                model,
            };
            let version = self.version("LoRA", Some("base"), &loaded)?;
            stage.tokens_per_s = Some(summary.tokens_per_s);
            stage.loss = Some(Change::new(before, version.quality.nll));
            Ok((loaded, version))
        })?;
        run.curves.push(Curve::train_loss(
            "LoRA: loss on the training texts",
            &losses,
        ));
        Ok(result)
    }

    /// Packs the merged model, loads the result and scores it.
    fn quantize(
        &self,
        format: PackedFormat,
        merged: &Path,
        before: f64,
        run: &mut Run<'_>,
    ) -> anyhow::Result<Version> {
        let (device, out) = (run.device, run.folder.path().join(format.name()));
        run.stage(
            StageKind::Quantize,
            &format!("quantize {format}"),
            |stage| {
                let (checkpoint, config) =
                    (Checkpoint::open(merged)?, QuantConfig::projections(format));
                let report = quantize_checkpoint(&checkpoint, &config, &out, |_, _| ())?;
                let loaded = Trainable::from_path(&out, device)?;
                let version = self.version(&format.name().to_uppercase(), Some("LoRA"), &loaded)?;
                stage.loss = Some(Change::new(before, version.quality.nll));
                stage.size_bytes = Some(Change::new(report.bytes_before, report.bytes_after));
                Ok(version)
            },
        )
    }

    /// Starts a server with a packed model and asks it the first question.
    fn serve(&self, format: PackedFormat, run: &mut Run<'_>) -> anyhow::Result<()> {
        let (device, path) = (run.device, run.folder.path().join(format.name()));
        run.stage(StageKind::Serve, "serve", |stage| {
            let loaded = Trainable::from_path(&path, device)?;
            let question = &self.questions[0];
            let served = serve_once::ask(loaded, &question.messages, question.max_new_tokens)?;
            stage.tokens_per_s = Some(served.tokens_per_s);
            stage.note = Some(format!(
                "{} was asked “{}” and answered “{}”.",
                served.url, served.question, served.answer
            ));
            Ok(())
        })
    }

    /// Scores a model and asks it every question.
    fn version(
        &self,
        name: &str,
        made_from: Option<&str>,
        loaded: &Trainable,
    ) -> anyhow::Result<Version> {
        let nll = self.score(&loaded.model)?;
        let size_bytes = Some(loaded.files.checkpoint.size_bytes());
        let made_from = made_from.map(str::to_owned);
        let quality = Quality {
            name: name.to_owned(),
            nll,
            made_from,
            size_bytes,
        };
        Ok(Version {
            quality,
            answers: self.answer(loaded)?,
        })
    }

    fn score(&self, model: &Llama) -> anyhow::Result<f64> {
        let rows: Vec<_> = self
            .scored
            .iter()
            .map(|e| (e.input_ids.clone(), e.labels.clone()))
            .collect();
        let bar = progress::counter("score", rows.len());
        let report =
            firebox_eval::nll_of_labels(model, &rows, |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok(report.nll)
    }

    fn answer(&self, loaded: &Trainable) -> anyhow::Result<Vec<String>> {
        let answers = self.questions.iter().map(|question| {
            let prompt = loaded.files.ask(&question.messages)?;
            let config = GenerateConfig {
                sampling: SamplingConfig::default(),
                max_new_tokens: question.max_new_tokens,
                eos_ids: loaded.files.eos_ids(),
                stop: vec![],
            };
            Ok(generate(loaded, &prompt, config, true, |_| Ok(()))?
                .text
                .trim()
                .to_owned())
        });
        answers.collect()
    }
}

/// Folds the adapter into the weights and writes them.
fn merge(loaded: Trainable, run: &mut Run<'_>) -> anyhow::Result<PathBuf> {
    let merged = run.folder.path().join("merged");
    run.stage(StageKind::Merge, "merge", |stage| {
        let model = loaded.model.into_merged()?;
        save::model(&model, &loaded.files.checkpoint, &merged, Dtype::BF16)?;
        let after = Checkpoint::open(&merged)?.size_bytes();
        stage.size_bytes = Some(Change::new(loaded.files.checkpoint.size_bytes(), after));
        Ok(())
    })?;
    Ok(merged)
}
