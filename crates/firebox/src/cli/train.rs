//! `firebox train`: a model from a TOML file, in a run folder, resumed exactly.

mod batches;
mod head;
mod held_out;
mod inputs;
mod preferences;
mod ranks;
mod run_memory;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use firebox_checkpoint::{Checkpoint, Dtype, write_atomic};
use firebox_model::Llama;
use firebox_tensor::kernels::MatmulPrecision;
use firebox_tensor::memory;
use firebox_train::{
    BatchSource, Evaluator, Outcome, Place, RankBatches, RunFolder, Setup, TrainHooks, TrainStep,
    TrainSummary, train_with,
};
use serde::Serialize;

use super::args::{Globals, TrainArgs};
use super::exit::UserError;
use super::output;
use super::save;

use batches::RunSource;
use head::HeadInputs;
use held_out::HeldOut;
use inputs::Inputs;
use preferences::PreferenceInputs;
use ranks::Ranks;
use run_memory::RunMemory;
use settings::TrainSettings;

/// The settings of a run, in its folder.
const SETTINGS: &str = "train.toml";

#[derive(Serialize)]
struct Trained {
    run: String,
    outcome: Outcome,
    steps: usize,
    trainable_params: usize,
    first_loss: f64,
    last_loss: f64,
    held_out_loss: Option<f64>,
    best_held_out_loss: Option<f64>,
    /// Of the last evaluation, besides the loss.
    scores: BTreeMap<String, f64>,
    tokens_per_s: f64,
    elapsed_s: f64,
    peak_rss_bytes: u64,
    planned_bytes: u64,
    /// Where the trained model or adapter is, once the run is finished.
    written: Option<String>,
}

pub(crate) fn run(globals: &Globals, args: &TrainArgs) -> anyhow::Result<()> {
    firebox_tensor::host::keep_freed_memory();
    let (settings, dir) = settings_and_dir(args)?;
    let ranks = Ranks::join()?;
    let globals = &Globals {
        device: ranks.device(globals.device),
        ..globals.clone()
    };
    let planned = RunMemory::plan(globals, &settings, &ranks)?;
    if args.plan {
        return match ranks.leads() {
            true => planned.print(globals),
            false => Ok(()),
        };
    }
    if !args.ignore_memory_plan {
        planned.check()?;
    }
    let folder = match ranks.leads() {
        true => RunFolder::open(&dir)?,
        false => RunFolder::look_at(&dir),
    };
    let place = match args.resume.is_some() {
        true => Place::Resume(&folder),
        false => {
            if ranks.leads() {
                folder.check_new()?; // Before anything of the run that is there is written over.
            }
            Place::New(&folder)
        }
    };
    let write_settings = || -> anyhow::Result<()> {
        match args.resume {
            Some(_) => Ok(()),
            None if !ranks.leads() => Ok(()),
            None => Ok(write_atomic(
                &dir.join(SETTINGS),
                settings.to_toml()?.as_bytes(),
            )?),
        }
    };
    let run = Run {
        globals,
        settings: &settings,
        place,
        dir: &dir,
        planned: &planned,
        ranks: &ranks,
    };
    // The settings are those of a run that could be opened.
    let (summary, written) = match (&settings.head, &settings.preferences) {
        (Some(head), _) => {
            let inputs = HeadInputs::open(globals, &settings, head)?;
            write_settings()?;
            inputs.train(&run)?
        }
        (None, Some(config)) => {
            let inputs = PreferenceInputs::open(globals, &settings, config)?;
            write_settings()?;
            inputs.train(&run)?
        }
        (None, None) => {
            let inputs = Inputs::open(globals, &settings, ranks.shard())?;
            write_settings()?;
            train(&run, inputs)?
        }
    };
    if ranks.leads() {
        report(globals, &dir, &summary, written, &planned)?;
    }
    ranks.finish();
    Ok(())
}

fn settings_and_dir(args: &TrainArgs) -> anyhow::Result<(TrainSettings, PathBuf)> {
    if let Some(dir) = &args.resume {
        let path = dir.join(SETTINGS);
        if !path.is_file() {
            let text = format!(
                "--resume `{}`: expected the folder of a run with its `{SETTINGS}`, found none \
                 (hint: runs are under `runs/`)",
                dir.display()
            );
            return Err(UserError(text).into());
        }
        return Ok((TrainSettings::read(&path)?, dir.clone()));
    }
    let Some(path) = &args.config else {
        return Err(UserError("train: expected --config or --resume, found neither".into()).into());
    };
    let mut settings = TrainSettings::read(path)?;
    if let Some(precision) = args.precision {
        settings.precision = precision.name().to_owned();
    }
    if let Some(seed) = args.seed {
        settings.seed = seed;
    }
    settings.validate(path)?;
    // Half precision loses small gradients: nobody wants that but to see it.
    if settings.precision == MatmulPrecision::F16.name() && !args.no_loss_scaling {
        settings.train.loss_scaling.get_or_insert_default();
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let dir = args.run.clone();
    Ok((
        settings,
        dir.unwrap_or_else(|| Path::new("runs").join(name.as_ref())),
    ))
}

/// A run that is about to start.
struct Run<'a> {
    globals: &'a Globals,
    settings: &'a TrainSettings,
    place: Place<'a>,
    dir: &'a Path,
    planned: &'a RunMemory,
    ranks: &'a Ranks,
}

impl Run<'_> {
    /// Trains a module with a bar; the module is none if Ctrl-C ended the run, and on all ranks but the
    /// one that writes it. A run that took more memory than it may is an error.
    fn train<M, S>(
        &self,
        model: M,
        batches: &mut S,
        evaluator: &mut dyn Evaluator<M>,
        known: Setup,
    ) -> anyhow::Result<(Option<M>, TrainSummary)>
    where
        S: BatchSource,
        M: Module + TrainStep<S::Batch>,
    {
        let mut bar = self.planned.bar(self.globals, self.settings)?;
        if !self.ranks.leads() {
            bar = bar.silent();
        }
        let hooks = TrainHooks {
            observer: &mut bar,
            evaluator,
            place: self.place,
            world: self.ranks.world(),
            setup: Setup {
                planned_bytes: Some(self.planned.planned_bytes),
                memory_limit_bytes: Some(self.planned.limit_bytes),
                ..known
            },
        };
        let config = &self.settings.train;
        let (model, summary) = match self.ranks.world() {
            // Batches by number are shared here, a loader's documents by the loader.
            Some(world) if batches.state().is_null() => {
                let mut own = RankBatches::new(batches, world);
                train_with(model.train(), &mut own, config, hooks)?
            }
            _ => train_with(model.train(), batches, config, hooks)?,
        };
        if let Some(used) = bar.ran_out() {
            return Err(self.planned.ran_out(used, &self.dir.display().to_string()));
        }
        let model = match summary.outcome {
            Outcome::Finished | Outcome::StoppedEarly if self.ranks.leads() => Some(model.valid()),
            Outcome::Finished | Outcome::StoppedEarly | Outcome::Cancelled => None,
        };
        Ok((model, summary))
    }
}

fn train(run: &Run<'_>, mut inputs: Inputs) -> anyhow::Result<(TrainSummary, Option<PathBuf>)> {
    let model = inputs.take_model()?;
    let samples = run.settings.samples.as_ref();
    let mut held_out = HeldOut::new(&inputs.files, &inputs.held_out, samples);
    let setup = inputs.setup.clone();
    let (model, summary) = match &mut inputs.batches.source {
        RunSource::Rows(rows) => run.train(model, rows, &mut held_out, setup)?,
        RunSource::Loaded(loaded) => run.train(model, &mut **loaded, &mut held_out, setup)?,
    };
    let written = match model {
        None => None,
        Some(model) => Some(write(&model, &inputs, run.dir)?),
    };
    Ok((summary, written))
}

/// The adapter where there is one, otherwise the model.
fn write(model: &Llama, inputs: &Inputs, dir: &Path) -> anyhow::Result<PathBuf> {
    match model.adapter(&inputs.base_name) {
        Some(adapter) => {
            let out = dir.join("adapter");
            firebox_checkpoint::write_adapter(&out, &adapter)?;
            Ok(out)
        }
        None => {
            let out = dir.join("model");
            match &inputs.files.origin {
                Some(origin) => save::model(model, &Checkpoint::open(origin)?, &out, Dtype::F32)?,
                None => save::new_model(model, &inputs.files.side_files()?, &out, Dtype::F32)?,
            }
            Ok(out)
        }
    }
}

fn report(
    globals: &Globals,
    dir: &Path,
    summary: &TrainSummary,
    written: Option<PathBuf>,
    planned: &RunMemory,
) -> anyhow::Result<()> {
    let losses = || {
        summary
            .evaluations
            .iter()
            .map(|(_, evaluation)| evaluation.loss)
    };
    let trained = Trained {
        run: dir.display().to_string(),
        outcome: summary.outcome,
        steps: summary.steps.len(),
        trainable_params: summary.n_trainable_params,
        first_loss: summary.first_loss().unwrap_or(f64::NAN),
        last_loss: summary.last_loss().unwrap_or(f64::NAN),
        held_out_loss: losses().next_back(),
        best_held_out_loss: losses().min_by(f64::total_cmp),
        scores: match summary.evaluations.last() {
            Some((_, evaluation)) => evaluation.scores.clone(),
            None => BTreeMap::new(),
        },
        tokens_per_s: summary.tokens_per_s,
        elapsed_s: summary.elapsed_s,
        peak_rss_bytes: memory::process().peak_rss_bytes,
        planned_bytes: planned.planned_bytes,
        written: written.map(|path| path.display().to_string()),
    };
    output::print(globals.json, &trained, || {
        let held_out = match trained.held_out_loss {
            Some(loss) => format!(", held-out loss {loss:.4}"),
            None => String::new(),
        };
        let scores: String = trained
            .scores
            .iter()
            .map(|(name, score)| format!(", {name} {score:.4}"))
            .collect();
        let end = match (&trained.written, trained.outcome) {
            (Some(path), _) => format!("written to {path}"),
            (None, _) => format!(
                "stopped; go on with `firebox train --resume {}`",
                trained.run
            ),
        };
        format!(
            "{}: loss {:.4} → {:.4}{held_out}{scores} in {} steps at {:.0} tok/s, peak memory {} ({} planned); {end}",
            trained.run,
            trained.first_loss,
            trained.last_loss,
            trained.steps,
            trained.tokens_per_s,
            output::bytes(trained.peak_rss_bytes),
            output::bytes(trained.planned_bytes)
        )
    })
}
