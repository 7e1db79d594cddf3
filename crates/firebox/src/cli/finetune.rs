//! `firebox finetune`.

use burn::module::Module;
use firebox_checkpoint::Dtype;
use firebox_model::{Llama, LoraConfig};
use firebox_tensor::autocast::Autocast;
use firebox_tensor::{burn, memory};
use firebox_train::{
    AdamWConfig, Decay, OptimizerConfig, Outcome, Place, Schedule, Setup, TrainConfig, TrainHooks,
    TrainSummary, train_with,
};
use serde::Serialize;

use super::args::{FinetuneArgs, Globals, Mode, ScheduleKind, TrainingArgs};
use super::data::{self, Batches, Records};
use super::exit::UserError;
use super::model::{Linears, ModelFiles, Trainable};
use super::output;
use super::progress::TrainBar;
use super::save::{self, Written};

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
    firebox_tensor::host::keep_freed_memory();
    let config = train_config(&args.training);
    config.validate()?;
    let loaded = Trainable::open(
        globals,
        &args.model,
        Linears::with_adapter(args.mode == Mode::Lora),
    )?;
    let written = if args.mode == Mode::Full {
        Written::Model
    } else {
        Written::Adapter
    };
    save::check_out(&args.out, written, loaded.files.checkpoint.path())?;
    data::check_sizes(&loaded.files, &args.training)?;
    let mut records = data::read(globals, &args.data)?;
    limit(&mut records, args.data.limit);
    let mut batches = data::batches(&loaded.files, &records, &args.training)?;
    let model = prepare(loaded.model, args)?;
    let setup = setup(&model, &loaded.files, &records, args);
    let (model, summary) = train(model, &mut batches, &config, setup)?;
    write(&model, &loaded.files, args)?;
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
fn prepare(model: Llama, args: &FinetuneArgs) -> anyhow::Result<Llama> {
    let autocast = Autocast::new(args.training.precision, &model.device());
    let model = model.with_autocast(autocast);
    match args.mode {
        Mode::Lora if model.has_adapter() => Ok(model), // It trains on.
        Mode::Lora => Ok(model.attach_lora(&lora_config(&args.training), args.training.seed)?),
        Mode::Full if !model.is_dense() => Err(UserError(
            "--mode full: expected a model with dense weights, found packed ones, which do not train \
             (hint: use --mode lora, or the model as it was before quantizing)"
                .into(),
        )
        .into()),
        Mode::Full => Ok(model.into_merged()?.set_require_grad(true)),
    }
}

pub(crate) fn lora_config(args: &TrainingArgs) -> LoraConfig {
    LoraConfig::new(args.rank, args.alpha, args.targets.clone())
}

/// Trains with a progress bar. A run that Ctrl-C ended is an error here.
pub(crate) fn train_all(
    model: Llama,
    batches: &mut Batches,
    config: &TrainConfig,
) -> anyhow::Result<(Llama, TrainSummary)> {
    let (model, summary) = train(model, batches, config, Setup::default())?;
    match summary.outcome {
        Outcome::Finished | Outcome::StoppedEarly => Ok((model, summary)),
        Outcome::Cancelled => {
            anyhow::bail!("stopped by Ctrl-C after {} steps", summary.steps.len())
        }
    }
}

/// Trains with a progress bar. Ctrl-C ends it after the step at hand; what was learned is kept.
fn train(
    model: Llama,
    batches: &mut Batches,
    config: &TrainConfig,
    setup: Setup,
) -> anyhow::Result<(Llama, TrainSummary)> {
    let mut bar = TrainBar::new()?;
    let hooks = TrainHooks {
        observer: &mut bar,
        evaluator: &mut (),
        place: Place::Memory,
        world: None,
        setup,
    };
    let (model, summary) = train_with(model.train(), batches, config, hooks)?;
    Ok((model.valid(), summary))
}

/// What is known of the run, for the detectors.
fn setup(model: &Llama, files: &ModelFiles, records: &Records, args: &FinetuneArgs) -> Setup {
    Setup {
        precision: Some(args.training.precision.name().to_owned()),
        is_pretrained: true,
        vocab_size: Some(model.config().vocab_size),
        tokenizer_vocab_size: Some(files.tokenizer.vocab_size()),
        wants_adapter: args.mode == Mode::Lora,
        has_prompts: matches!(records, Records::Chats(_)),
        ..Setup::default()
    }
}

fn write(model: &Llama, files: &ModelFiles, args: &FinetuneArgs) -> anyhow::Result<()> {
    match (args.mode, model.adapter(&args.model.model)) {
        (Mode::Lora, Some(adapter)) => Ok(firebox_checkpoint::write_adapter(&args.out, &adapter)?),
        _ => save::model(model, &files.checkpoint, &args.out, Dtype::F32),
    }
}
