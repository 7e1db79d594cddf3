//! What one turn of the loop did, as plain data: `report.json`, the terminal's table and the page
//! are all made from it.

mod format;
mod table;

pub use format::{count, duration, size};

use serde::{Deserialize, Serialize};

/// The version of this format that the program writes.
pub const LOOP_REPORT_VERSION: u32 = 1;

/// One run of `firebox loop`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoopReport {
    /// [`LOOP_REPORT_VERSION`].
    pub version: u32,
    /// The run's folder name.
    pub run_id: String,
    /// What the run was about, in a few words.
    pub title: String,
    /// When it started, as a reader would write it (`2026-11-25 04:05 UTC`).
    pub started_at: String,
    /// The model that the loop started from, in a few words with its size.
    pub model: String,
    /// The texts that it read, in a few words with their size.
    pub data: String,
    /// What was done, in order.
    pub stages: Vec<Stage>,
    /// Training curves.
    pub curves: Vec<Curve>,
    /// The same held-out texts, scored by each version of the model.
    pub quality: Vec<Quality>,
    /// Questions, and what each version of the model answers.
    pub samples: Vec<Sample>,
    /// What the run left behind.
    pub artifacts: Artifacts,
    /// Where it ran.
    pub environment: Environment,
    /// Every random choice follows from it.
    pub seed: u64,
    /// All settings.
    pub config: serde_json::Value,
}

/// One step of the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Which step it is: it selects the explanation on the page.
    pub kind: StageKind,
    /// What the table calls it.
    pub name: String,
    /// Wall time.
    pub seconds: f64,
    /// Tokens a second, where tokens went through a model or a tokenizer.
    pub tokens_per_s: Option<f64>,
    /// The most memory that the process held in this stage; 0 where the system does not say.
    pub peak_rss_bytes: u64,
    /// Loss or negative log-likelihood, in nats a token.
    pub loss: Option<Change<f64>>,
    /// Bytes on disk.
    pub size_bytes: Option<Change<u64>>,
    /// One sentence on what came out.
    pub note: Option<String>,
}

impl Stage {
    /// A stage with nothing measured yet.
    pub fn new(kind: StageKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            seconds: 0.0,
            tokens_per_s: None,
            peak_rss_bytes: 0,
            loss: None,
            size_bytes: None,
            note: None,
        }
    }
}

/// The steps that a loop can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// Opening a checkpoint.
    Load,
    /// Reading and splitting texts.
    Data,
    /// Learning a vocabulary.
    Tokenizer,
    /// Training from random weights.
    Pretrain,
    /// Training an adapter.
    Finetune,
    /// Folding the adapter into the weights.
    Merge,
    /// Packing weights into fewer bits.
    Quantize,
    /// Scoring held-out texts.
    Evaluate,
    /// Starting the server and asking it.
    Serve,
}

/// A figure before a stage and after it. `before` is missing where there was none, as the size of
/// a tokenizer that did not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change<T> {
    /// Before the stage.
    pub before: Option<T>,
    /// After it.
    pub after: T,
}

impl<T> Change<T> {
    /// From one value to another.
    pub fn new(before: T, after: T) -> Self {
        Self {
            before: Some(before),
            after,
        }
    }

    /// A value that did not exist before.
    pub fn only(after: T) -> Self {
        Self {
            before: None,
            after,
        }
    }
}

/// One plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Its heading.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis measures, with its unit.
    pub y_label: String,
    /// The first is drawn strongest.
    pub series: Vec<Series>,
}

impl Curve {
    /// The loss of every step of a training run, numbered from 1.
    pub fn train_loss(title: impl Into<String>, losses: &[f64]) -> Self {
        let points = losses.iter().enumerate();
        Self {
            title: title.into(),
            x_label: "step".to_owned(),
            y_label: "loss (nats per token)".to_owned(),
            series: vec![Series {
                name: "training".to_owned(),
                points: points.map(|(i, loss)| ((i + 1) as f64, *loss)).collect(),
            }],
        }
    }
}

/// The points of one line, by ascending `x`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// `(x, y)`.
    pub points: Vec<(f64, f64)>,
}

/// How well one version of the model predicts the held-out texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The version: `f32`, `LoRA`, `NF4`, `INT8`.
    pub name: String,
    /// Mean negative log-likelihood, in nats a token.
    pub nll: f64,
    /// The version that it was made from and is compared with; `None` for the first.
    pub made_from: Option<String>,
    /// Its weights on disk.
    pub size_bytes: Option<u64>,
}

/// One question, and the answers to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was asked, or how a text began.
    pub question: String,
    /// What a person would answer, where the data says.
    pub expected: Option<String>,
    /// By version of the model, in the loop's order.
    pub answers: Vec<Answer>,
}

/// What one version of the model said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The version: `before`, `after LoRA`, `NF4`.
    pub name: String,
    /// What it said.
    pub text: String,
}

/// Paths of what a run wrote, as a command line would name them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// The model before quantization.
    pub model: Option<String>,
    /// The adapter.
    pub adapter: Option<String>,
    /// The smallest packed model.
    pub quantized: Option<String>,
}

/// The machine and the program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// What computed: `cpu (burn-flex)`.
    pub device: String,
    /// Which vector instructions: `AVX-512`.
    pub simd: String,
    /// Worker threads.
    pub n_threads: usize,
    /// Memory of the machine; 0 where the system does not say.
    pub memory_bytes: u64,
    /// Operating system and processor.
    pub platform: String,
    /// Name and version of what matters for the figures.
    pub versions: Vec<(String, String)>,
}

impl LoopReport {
    /// Wall time of all stages, in seconds.
    pub fn seconds(&self) -> f64 {
        self.stages.iter().map(|stage| stage.seconds).sum()
    }

    /// The most memory that any stage held; 0 where the system does not say.
    pub fn peak_rss_bytes(&self) -> u64 {
        let peaks = self.stages.iter().map(|stage| stage.peak_rss_bytes);
        peaks.max().unwrap_or(0)
    }
}
