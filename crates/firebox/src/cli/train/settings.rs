//! The TOML file of a training run.

use std::path::Path;

use anyhow::Context;
use firebox_model::{HeadTask, Llama, LlamaConfig, LoraConfig, LoraInit, TrainedPart};
use firebox_tensor::autocast::Autocast;
use firebox_tensor::kernels::MatmulPrecision;
use firebox_train::{DpoConfig, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::cli::exit::UserError;

/// What `firebox train` does. `docs/training.md` describes every key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainSettings {
    /// Of the first values and of the order of the data.
    #[serde(default)]
    pub(super) seed: u64,
    /// In what matrices are multiplied: `f32`, `bf16` or `f16`.
    #[serde(default = "f32_name")]
    pub(super) precision: String,
    /// Linear layers, and `lm_head`, that stay in f32: last names, or patterns with `*`.
    #[serde(default)]
    pub(super) keep_f32: Vec<String>,
    /// Whether layers are computed again for their gradients, in less memory.
    #[serde(default)]
    pub(super) activation_checkpointing: bool,
    /// Millions of bytes that the run may take; what is free unless given.
    pub(super) memory_limit_mb: Option<u64>,
    pub(super) model: ModelSettings,
    pub(super) adapter: Option<LoraConfig>,
    pub(super) head: Option<HeadSettings>,
    /// Two answers to each prompt, of which one is better: `beta` is how strongly the model is held to
    /// itself without the adapter.
    pub(super) preferences: Option<DpoConfig>,
    pub(super) data: DataSettings,
    pub(super) samples: Option<SampleSettings>,
    pub(super) train: TrainConfig,
}

/// A model that is there, or the sizes of a new one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ModelSettings {
    /// hf:…, pypi:… or a path.
    pub(super) from: Option<String>,
    pub(super) new: Option<NewModel>,
}

/// A decoder that starts random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewModel {
    /// A `tokenizer.json` or a model that has one; without it one is trained on the data.
    pub(super) tokenizer: Option<String>,
    /// Tokens of the tokenizer that is trained.
    #[serde(default = "vocab_size")]
    pub(super) vocab_size: usize,
    pub(super) d_model: usize,
    pub(super) d_ff: usize,
    pub(super) n_layers: usize,
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: Option<usize>,
    pub(super) max_seq_len: Option<usize>,
}

/// Which records become which batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataSettings {
    /// hf:…, pypi:…#member, a path, a folder or a glob.
    pub(super) source: Option<String>,
    /// Folders of `firebox data pack`, instead of `source`: they are mapped, not loaded.
    #[serde(default)]
    pub(super) shards: Vec<String>,
    /// The shards' shares of the examples; equal unless given.
    #[serde(default)]
    pub(super) weights: Vec<f64>,
    /// Records that are scored and not trained on, from a source of their own.
    pub(super) held_out: Option<String>,
    /// Records of `source` of these years are scored, and not trained on.
    pub(super) held_out_years: Option<String>,
    /// Whether several documents share a row, each seeing itself only.
    #[serde(default)]
    pub(super) packed: bool,
    /// Only records of these years.
    pub(super) years: Option<String>,
    pub(super) longer_than: Option<usize>,
    pub(super) shorter_than: Option<usize>,
    /// At most so many training records.
    pub(super) limit: Option<usize>,
    /// So many records of `source`, spread evenly, are scored and not trained on.
    #[serde(default)]
    pub(super) n_held_out: usize,
    /// Tokens a sequence.
    pub(super) seq_len: usize,
    /// Sequences a batch.
    pub(super) batch_size: usize,
    #[serde(default = "yes")]
    pub(super) shuffle: bool,
}

/// A new head in the place of the decoder's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeadSettings {
    #[serde(default)]
    pub(super) task: HeadTask,
    /// The field of a record that has its label, or labels; `mesh_terms` in MEDLINE.
    #[serde(default = "label")]
    pub(super) field: String,
    /// The classes or labels, in order; all that occur unless given. For numbers, the outputs' names.
    #[serde(default)]
    pub(super) labels: Vec<String>,
    /// `"head"`, `{ last_layers = N }` or `"all"`; with an adapter, it and the head.
    pub(super) trained: Option<TrainedPart>,
}

/// Texts that the model goes on with at every evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SampleSettings {
    pub(super) prompts: Vec<String>,
    #[serde(default = "max_new_tokens")]
    pub(super) max_new_tokens: usize,
}

fn f32_name() -> String {
    MatmulPrecision::F32.name().to_owned()
}

fn vocab_size() -> usize {
    8192
}

fn label() -> String {
    "label".to_owned()
}

fn yes() -> bool {
    true
}

fn max_new_tokens() -> usize {
    32
}

impl TrainSettings {
    /// Reads a file. Line, column and what was expected are in the error.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| UserError(format!("read config `{}`: {error}", path.display())))?;
        let settings = toml::from_str(&text)
            .map_err(|error| UserError(format!("read config `{}`: {error}", path.display())))?;
        Ok(settings)
    }

    pub(super) fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string_pretty(self).context("write the settings as TOML")
    }

    pub(super) fn precision(&self) -> anyhow::Result<MatmulPrecision> {
        Ok(self.precision.parse::<MatmulPrecision>()?)
    }

    /// The model with the run's precision, its regions in f32, and activation checkpointing.
    pub(super) fn prepare(&self, model: Llama) -> anyhow::Result<Llama> {
        let device = model.device();
        let autocast = Autocast::new(self.precision()?, &device);
        let exact = Autocast::disabled(&device);
        let model = model
            .with_autocast(autocast)
            .with_autocast_in(&self.keep_f32, exact)?;
        Ok(model.with_activation_checkpointing(self.activation_checkpointing))
    }

    /// Checks everything that can be checked before a file is opened, and says all that is wrong.
    pub(super) fn validate(&self, path: &Path) -> anyhow::Result<()> {
        let mut problems = Vec::new();
        if let Err(error) = self.precision.parse::<MatmulPrecision>() {
            problems.push(format!("`precision`: {error}"));
        }
        if self.activation_checkpointing && self.precision == MatmulPrecision::F16.name() {
            let text = "`activation_checkpointing`: expected f32 or bf16 with it, found f16 (hint: it \
                        computes gradients before the loss is scaled, which f16 needs)";
            problems.push(text.to_owned());
        }
        problems.extend(self.model_problems());
        problems.extend(self.data_problems());
        problems.extend(self.head_problems());
        problems.extend(self.preference_problems());
        if let Err(error) = self.train.validate() {
            problems.extend(error.problems.iter().map(|problem| {
                format!(
                    "`train.{}`: expected {}, found {}",
                    problem.field, problem.expected, problem.found
                )
            }));
        }
        if problems.is_empty() {
            return Ok(());
        }
        let text = format!(
            "use config `{}`:\n  {}",
            path.display(),
            problems.join("\n  ")
        );
        Err(UserError(text).into())
    }

    fn model_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match (&self.model.from, &self.model.new) {
            (Some(_), None) => {}
            (None, Some(new)) => {
                problems.extend(new.problems());
                if self.adapter.is_some() {
                    let text = "`adapter`: expected a model with `model.from`, found a new one \
                                (hint: an adapter needs a base that has learned something)";
                    problems.push(text.to_owned());
                }
            }
            (found, _) => {
                let found = if found.is_some() { "both" } else { "neither" };
                problems.push(format!(
                    "`model`: expected either `from` or `[model.new]`, found {found} \
                     (hint: `from` goes on with a checkpoint, `[model.new]` has the sizes of a new one)"
                ));
            }
        }
        problems
    }

    fn preference_problems(&self) -> Vec<String> {
        let Some(config) = &self.preferences else {
            return Vec::new();
        };
        let mut problems = Vec::new();
        if !(config.beta.is_finite() && config.beta > 0.0) {
            problems.push(format!(
                "`preferences.beta`: expected more than 0 (0.1 is usual), found {}",
                config.beta
            ));
        }
        let adapter = self.adapter.as_ref();
        let is_plain = adapter.is_some_and(|adapter| {
            adapter.modules_to_save.is_empty() && adapter.init == LoraInit::Random
        });
        if !is_plain {
            let text = "`preferences`: expected an `[adapter]` without `modules_to_save` and PiSSA, found \
                        none (hint: the model without it is the reference)";
            problems.push(text.to_owned());
        }
        let without = [
            (self.head.is_some(), "head"),
            (self.model.new.is_some(), "model.new"),
            (!self.data.shards.is_empty(), "data.shards"),
            (self.data.packed, "data.packed"),
            (self.samples.is_some(), "samples"),
        ];
        for (_, field) in without.iter().filter(|(is_there, _)| *is_there) {
            problems.push(format!(
                "`{field}`: expected none with `[preferences]`, found it"
            ));
        }
        problems
    }

    fn head_problems(&self) -> Vec<String> {
        let Some(head) = &self.head else {
            return match self.data.held_out_years {
                Some(_) => {
                    let text = "`data.held_out_years`: expected it with `[head]`, found no head";
                    vec![text.to_owned()]
                }
                None => Vec::new(),
            };
        };
        let mut problems = Vec::new();
        let without = [
            (self.model.new.is_some(), "model.new", "model.from"),
            (!self.data.shards.is_empty(), "data.shards", "data.source"),
            (
                self.data.packed,
                "data.packed",
                "nothing: documents are side by side anyway",
            ),
            (
                self.samples.is_some(),
                "samples",
                "nothing: such a model writes no texts",
            ),
        ];
        for (is_there, field, instead) in without {
            if is_there {
                problems.push(format!(
                    "`{field}`: expected {instead} with `[head]`, found it"
                ));
            }
        }
        if head.trained.is_some() && self.adapter.is_some() {
            let text = "`head.trained`: expected none beside `[adapter]`, found it (hint: the adapter \
                        and the head train)";
            problems.push(text.to_owned());
        }
        problems
    }

    fn data_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let data = &self.data;
        if data.batch_size == 0 {
            problems.push("`data.batch_size`: expected at least 1, found 0".to_owned());
        }
        if data.seq_len < 2 {
            problems.push(format!(
                "`data.seq_len`: expected at least 2 tokens (one predicts the next), found {}",
                data.seq_len
            ));
        }
        problems.extend(data.source_problems());
        if self.train.evaluation.is_some() && !data.has_held_out() {
            let text = "`data.n_held_out`: expected records to evaluate on, found 0 (hint: set it \
                        or `data.held_out`, or leave `train.evaluation` out)";
            problems.push(text.to_owned());
        }
        if self.samples.is_some() && self.train.evaluation.is_none() {
            let text = "`samples`: expected `train.evaluation`, which says when, found none";
            problems.push(text.to_owned());
        }
        problems
    }
}

impl DataSettings {
    fn has_held_out(&self) -> bool {
        self.n_held_out > 0 || self.held_out.is_some() || self.held_out_years.is_some()
    }

    fn source_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.source.is_some() != self.shards.is_empty() {
            let found = if self.source.is_some() {
                "both"
            } else {
                "neither"
            };
            problems.push(format!(
                "`data`: expected either `source` or `shards`, found {found} (hint: `source` has \
                 texts or conversations, `shards` are folders of `firebox data pack`)"
            ));
        }
        if !self.weights.is_empty() && self.weights.len() != self.shards.len() {
            problems.push(format!(
                "`data.weights`: expected one for each of {} `shards`, found {}",
                self.shards.len(),
                self.weights.len()
            ));
        }
        if self.n_held_out > 0 && self.source.is_none() {
            let text = "`data.n_held_out`: expected `source` with it, found none (hint: `held_out` \
                        names records of their own)";
            problems.push(text.to_owned());
        }
        let ways = [
            self.n_held_out > 0,
            self.held_out.is_some(),
            self.held_out_years.is_some(),
        ];
        if ways.iter().filter(|is_set| **is_set).count() > 1 {
            let text = "`data`: expected one of `n_held_out`, `held_out` and `held_out_years`, found \
                        several";
            problems.push(text.to_owned());
        }
        problems
    }
}

impl NewModel {
    /// The decoder's sizes over a vocabulary.
    pub(super) fn sizes(&self, vocab_size: usize, eos_ids: Vec<u32>) -> LlamaConfig {
        let base = LlamaConfig::new(
            vocab_size,
            self.d_model,
            self.d_ff,
            self.n_layers,
            self.n_heads,
        );
        LlamaConfig {
            n_kv_heads: self.n_kv_heads.unwrap_or(self.n_heads),
            max_seq_len: self.max_seq_len.unwrap_or(base.max_seq_len),
            eos_ids,
            ..base
        }
    }

    fn problems(&self) -> Vec<String> {
        let n_kv_heads = self.n_kv_heads.unwrap_or(self.n_heads);
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_ff", self.d_ff),
            ("n_layers", self.n_layers),
            ("n_heads", self.n_heads),
            ("n_kv_heads", n_kv_heads),
        ];
        let zeros = sizes.iter().filter(|(_, size)| *size == 0);
        let mut problems: Vec<String> = zeros
            .map(|(name, _)| format!("`model.new.{name}`: expected at least 1, found 0"))
            .collect();
        let n_heads = self.n_heads.max(1);
        let head_dim = self.d_model / n_heads;
        if !self.d_model.is_multiple_of(n_heads) || !head_dim.is_multiple_of(2) {
            problems.push(format!(
                "`model.new.n_heads`: expected heads of an even whole width, found {} for `d_model` {}",
                self.n_heads, self.d_model
            ));
        }
        if n_kv_heads > 0 && !self.n_heads.is_multiple_of(n_kv_heads) {
            problems.push(format!(
                "`model.new.n_kv_heads`: expected a divisor of `n_heads` ({}), found {n_kv_heads}",
                self.n_heads
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        precision = "bf16"
        [model.new]
        d_model = 64
        d_ff = 128
        n_layers = 2
        n_heads = 4
        [data]
        source = "texts.jsonl"
        seq_len = 64
        batch_size = 4
        [train]
        n_steps = 10
        schedule = { peak = 1e-3 }
    "#;

    fn problems(text: &str) -> String {
        let settings: TrainSettings = toml::from_str(text).unwrap();
        match settings.validate(Path::new("x.toml")) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn all_problems_are_said_at_once() {
        assert_eq!(problems(GOOD), "");
        let bad = GOOD
            .replace("bf16", "f8")
            .replace("n_heads = 4", "n_heads = 5")
            .replace("batch_size = 4", "batch_size = 0")
            .replace("n_steps = 10", "n_steps = 0")
            .replace(
                "[data]",
                "[adapter]\nrank = 4\nalpha = 8.0\ntargets = []\n[data]",
            );
        let text = problems(&bad);
        for field in [
            "precision",
            "n_heads",
            "batch_size",
            "train.n_steps",
            "adapter",
        ] {
            assert!(
                text.contains(&format!("`{field}")) || text.contains(&format!("{field}`")),
                "{field}: {text}"
            );
        }
    }

    #[test]
    fn settings_come_back_from_the_run_folder_as_they_were() {
        let settings: TrainSettings = toml::from_str(GOOD).unwrap();
        let written = settings.to_toml().unwrap();
        assert_eq!(toml::from_str::<TrainSettings>(&written).unwrap(), settings);
    }

    #[test]
    fn the_configs_that_are_shipped_are_valid() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/train");
        let mut n_configs = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            TrainSettings::read(&path).unwrap().validate(&path).unwrap();
            n_configs += 1;
        }
        assert!(n_configs > 0);
    }
}
