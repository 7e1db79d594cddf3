//! `firebox finetune`.

use std::path::Path;

use burn::module::Module;
use firebox_checkpoint::Dtype;
use firebox_model::{Llama, LoraConfig};
use firebox_tensor::{burn, memory};
use firebox_train::{AdamWConfig, Decay, OptimizerConfig, Schedule, TrainConfig, TrainSummary};
use serde::Serialize;

use super::args::{FinetuneArgs, Globals, Mode, ScheduleKind, TrainingArgs};
use super::data::{self, Batches, Records};
use super::model::{LoadedModel, ModelFiles};
use super::progress::TrainBar;
use super::{output, save};

#[derive(Serialize)]
struct Finetuned {
    path: String,
    records: usize,
    steps: usize,
    trainable_params: usize,
    first_loss: f64,
    last_loss: f64,
    tokens_per_s: f64,
    elapsed_s: f64,
    peak_rss_bytes: u64,
}

pub(crate) fn run(globals: &Globals, args: &FinetuneArgs) -> anyhow::Result<()> {
    let config = train_config(&args.training);
    config.validate()?;
    let loaded = LoadedModel::open(globals, &args.model)?;
    let mut records = data::read(globals, &args.data)?;
    limit(&mut records, args.data.limit);
    let mut batches = data::batches(&loaded.files, &records, &args.training)?;
    let model = prepare(loaded.model, &args.training)?;
    let (model, summary) = train(model, &mut batches, &config)?;
    write(
        &model,
        &loaded.files,
        &args.training,
        &args.model.model,
        &args.out,
    )?;
    let finetuned = Finetuned {
        path: args.out.display().to_string(),
        records: batches.n_records,
        steps: summary.steps.len(),
        trainable_params: summary.n_trainable_params,
        first_loss: summary.first_loss().unwrap_or(f64::NAN),
        last_loss: summary.last_loss().unwrap_or(f64::NAN),
        tokens_per_s: summary.tokens_per_s,
        elapsed_s: summary.elapsed_s,
        peak_rss_bytes: memory::process().peak_rss_bytes,
    };
    output::print(globals.json, &finetuned, || {
        format!(
            "{}: loss {:.4} → {:.4} in {} steps at {:.0} tok/s, peak memory {}",
            finetuned.path,
            finetuned.first_loss,
            finetuned.last_loss,
            finetuned.steps,
            finetuned.tokens_per_s,
            output::bytes(finetuned.peak_rss_bytes)
        )
    })
}

pub(crate) fn limit(records: &mut Records, limit: Option<usize>) {
    let limit = limit.unwrap_or(usize::MAX);
    match records {
        Records::Texts(texts) => texts.truncate(limit),
        Records::Chats(chats) => chats.truncate(limit),
    }
}

pub(crate) fn train_config(args: &TrainingArgs) -> TrainConfig {
    let decay = match args.schedule {
        ScheduleKind::Constant => Decay::Constant,
        ScheduleKind::Cosine => Decay::Cosine { floor: 0.1 },
    };
    let schedule = Schedule {
        peak: args.lr,
        n_warmup_steps: args.warmup,
        decay,
    };
    let adamw = AdamWConfig {
        weight_decay: args.weight_decay,
        ..AdamWConfig::default()
    };
    TrainConfig {
        optimizer: OptimizerConfig::AdamW(adamw),
        max_grad_norm: args.clip,
        ..TrainConfig::new(args.steps, schedule)
    }
}

/// The model with what the mode trains asking for gradients.
pub(crate) fn prepare(model: Llama, args: &TrainingArgs) -> anyhow::Result<Llama> {
    if args.mode == Mode::Full {
        return Ok(model);
    }
    let config = LoraConfig {
        rank: args.rank,
        alpha: args.alpha,
        targets: args.targets.clone(),
    };
    Ok(model.attach_lora(&config, args.seed)?)
}

/// Trains with a progress bar.
pub(crate) fn train(
    model: Llama,
    batches: &mut Batches,
    config: &TrainConfig,
) -> anyhow::Result<(Llama, TrainSummary)> {
    let mut bar = TrainBar::new();
    let (model, summary) = firebox_train::train(model.train(), batches, config, &mut bar)?;
    Ok((model.valid(), summary))
}

fn write(
    model: &Llama,
    files: &ModelFiles,
    args: &TrainingArgs,
    base: &str,
    out: &Path,
) -> anyhow::Result<()> {
    match args.mode {
        Mode::Full => save::model(model, &files.checkpoint, out, Dtype::F32),
        Mode::Lora => match model.adapter(base) {
            Some(adapter) => Ok(firebox_checkpoint::write_adapter(out, &adapter)?),
            None => unreachable!("this is a bug in firebox: LoRA was attached before training"),
        },
    }
}
