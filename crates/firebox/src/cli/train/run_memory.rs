//! What a run will take of memory, and how much it will compute, said before anything is loaded.

use firebox_checkpoint::{Checkpoint, Dtype, Storage};
use firebox_model::{LlamaConfig, LoraInit, MemoryPlan, TrainedWeights, TrainingShape};
use firebox_tensor::host::{PanelFormat, Roofline};
use firebox_tensor::kernels::{MatmulPrecision, is_cpu};
use firebox_tensor::memory;
use serde::Serialize;

use crate::cli::args::Globals;
use crate::cli::exit::UserError;
use crate::cli::model::{TokenizerFiles, fetch};
use crate::cli::output::{self, bytes};
use crate::cli::progress::TrainBar;

use super::ranks::Ranks;
use super::settings::TrainSettings;

/// Changes that are named, at most.
const N_CHANGES: usize = 3;

/// A run's plan, what may be used, and what would make it smaller.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RunMemory {
    pub(super) planned_bytes: u64,
    pub(super) limit_bytes: u64,
    /// Multiplications and additions for each token.
    pub(super) flops_per_token: f64,
    #[serde(flatten)]
    plan: MemoryPlan,
    /// Changes, and what they would leave.
    smaller: Vec<Change>,
}

#[derive(Debug, Clone, Serialize)]
struct Change {
    change: String,
    bytes: u64,
}

impl RunMemory {
    /// Reads the sizes of the model, and nothing else of it. Of this one of the ranks.
    pub(super) fn plan(
        globals: &Globals,
        settings: &TrainSettings,
        ranks: &Ranks,
    ) -> anyhow::Result<Self> {
        let mut shape = shape(globals, settings)?;
        shape.several_ranks = ranks.count() > 1;
        if settings.train.shard_optimizer_state {
            shape.optimizer_bytes /= ranks.count() as f64;
        }
        let plan = MemoryPlan::of(&shape);
        let limit_bytes = match settings.memory_limit_mb {
            Some(limit) => limit.saturating_mul(1_000_000),
            None => memory::system().available_bytes / ranks.count_here() as u64,
        };
        let changes = shape.smaller().into_iter();
        Ok(Self {
            planned_bytes: plan.total_bytes(),
            limit_bytes,
            flops_per_token: shape.flops_per_token(),
            plan,
            smaller: changes
                .map(|(change, bytes)| Change { change, bytes })
                .collect(),
        })
    }

    /// Refuses a run that will not fit.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        // Where the system does not say how much there is, nothing can be said.
        if self.limit_bytes == 0 || self.planned_bytes <= self.limit_bytes {
            return Ok(());
        }
        let text = format!(
            "plan the run's memory: expected at most {}, found a plan of {}\n{}\n(hint: change the \
             settings, set `memory_limit_mb`, or run it all the same with --ignore-memory-plan)",
            bytes(self.limit_bytes),
            bytes(self.planned_bytes),
            self.text()
        );
        Err(UserError(text).into())
    }

    /// What a run that took too much says in the end.
    pub(super) fn ran_out(&self, used_bytes: u64, run: &str) -> anyhow::Error {
        UserError(format!(
            "stopped: expected at most {} of memory, found {} in use\n{}\n(hint: what was learned is \
             kept; with a larger `memory_limit_mb` in its train.toml go on with `firebox train --resume \
             {run}`)",
            bytes(self.limit_bytes),
            bytes(used_bytes),
            self.text()
        ))
        .into()
    }

    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .plan
            .items
            .iter()
            .map(|item| format!("  {:>9}  {}", bytes(item.bytes), item.name))
            .collect();
        lines.push(format!("  {:>9}  in all", bytes(self.planned_bytes)));
        for change in self.smaller.iter().take(N_CHANGES) {
            let saved = self.planned_bytes - change.bytes;
            let fits = match change.bytes <= self.limit_bytes {
                true => "",
                false => ", which is not enough alone",
            };
            lines.push(format!("  {} saves {}{fits}", change.change, bytes(saved)));
        }
        lines.join("\n")
    }

    /// The bar of the run: it knows the limit, and what this machine could do.
    pub(super) fn bar(
        &self,
        globals: &Globals,
        settings: &TrainSettings,
    ) -> anyhow::Result<TrainBar> {
        let bar = TrainBar::new()?.with_memory_limit(self.limit_bytes);
        if !is_cpu(&globals.device.open()?) {
            return Ok(bar); // How fast it could be is not measured there.
        }
        let format = match settings.precision()? {
            MatmulPrecision::Bf16 => PanelFormat::Bf16Dot,
            MatmulPrecision::F32 | MatmulPrecision::F16 => PanelFormat::F32,
        };
        Ok(bar.with_work(self.flops_per_token, Roofline::products(format)))
    }

    /// Prints the plan instead of running.
    pub(super) fn print(&self, globals: &Globals) -> anyhow::Result<()> {
        output::print(globals.json, self, || {
            format!(
                "{}\n  {:>9}  may be used",
                self.text(),
                bytes(self.limit_bytes)
            )
        })
    }
}

fn shape(globals: &Globals, settings: &TrainSettings) -> anyhow::Result<TrainingShape> {
    let (config, linear_bits) = sizes(globals, settings)?;
    let part = match &settings.head {
        Some(head) => head.trained.unwrap_or_default(),
        None => firebox_model::TrainedPart::All,
    };
    let trained = match &settings.adapter {
        Some(adapter) => TrainedWeights::Adapter(adapter.clone()),
        None => TrainedWeights::Part(part),
    };
    Ok(TrainingShape {
        config,
        trained,
        n_tokens: settings.data.batch_size * settings.data.seq_len,
        seq_len: settings.data.seq_len,
        n_accum_steps: settings.train.n_accum_steps,
        optimizer_bytes: settings.train.optimizer.state_bytes(),
        averages: settings.train.ema.is_some(),
        several_ranks: false,
        activation_checkpointing: settings.activation_checkpointing,
        rounds_to_f16: settings.precision()? == MatmulPrecision::F16,
        linear_bits,
        predicts_tokens: settings.head.is_none(),
    })
}

/// The decoder's sizes, and how many bits a linear layer's weight has in memory.
fn sizes(globals: &Globals, settings: &TrainSettings) -> anyhow::Result<(LlamaConfig, f64)> {
    match (&settings.model.from, &settings.model.new) {
        (Some(from), _) => {
            let checkpoint = Checkpoint::open(&fetch(globals, from)?)?;
            let config = LlamaConfig::from_hf(checkpoint.config())?;
            let adapter = settings.adapter.as_ref();
            // A device that is not here, where a plan is made for another machine, is no CPU.
            let stays = adapter.is_some_and(|adapter| adapter.init != LoraInit::Pissa)
                && globals.device.open().is_ok_and(|device| is_cpu(&device));
            let bits = linear_bits(&checkpoint, &config, stays);
            Ok((config, bits))
        }
        (None, Some(new)) => {
            let vocab_size = match &new.tokenizer {
                Some(source) => TokenizerFiles::open(globals, source)?
                    .tokenizer
                    .vocab_size(),
                None => new.vocab_size,
            };
            Ok((new.sizes(vocab_size, Vec::new()), 32.0))
        }
        (None, None) => Err(UserError("`model`: expected `from` or `[model.new]`".into()).into()),
    }
}

/// A packed format of Firebox stays packed, and 16 bits stay 16 where they do not train; everything
/// else becomes f32.
fn linear_bits(checkpoint: &Checkpoint, config: &LlamaConfig, stays: bool) -> f64 {
    let weight = "model.layers.0.mlp.up_proj.weight";
    match checkpoint.storage(weight) {
        Some(Storage::Packed(_)) => {
            // The embedding is stored beside them, in 16 bits or more.
            let vocabulary = (config.vocab_size * config.d_model) as f64;
            let others = checkpoint.size_bytes() as f64 - 2.0 * vocabulary;
            let n_linear = config.n_params() as f64 - vocabulary;
            (8.0 * others / n_linear).clamp(1.0, 16.0)
        }
        _ if stays && checkpoint.dtype(weight).is_some_and(Dtype::is_half) => 16.0,
        _ => 32.0,
    }
}
