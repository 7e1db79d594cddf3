//! Who is timed, with which commands, and where the figures stand in what they print.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::ensure_exists;
use crate::linear;

/// `command!["a", path, 3.to_string()]`: the parts as they are handed to the system.
macro_rules! command {
    ($($part:expr),* $(,)?) => { vec![$(OsString::from($part)),*] };
}

/// What is timed, always in tokens per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Reading the prompt.
    Prefill,
    /// Writing token by token after the prompt.
    Decode,
    /// Fine-tuning every weight.
    TrainFull,
    /// Fine-tuning an adapter (r=8 on q_proj and v_proj).
    TrainLora,
    /// One row times one NF4 weight, which may stay in the cache; rows per second.
    LinearCached,
    /// One row times NF4 weights that take turns and come from memory.
    LinearStreamed,
    /// 512 rows times one NF4 weight.
    LinearMany,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::TrainFull => "train full",
            Self::TrainLora => "train LoRA",
            Self::LinearCached => "NF4 linear 2048 → 8192, 1 row",
            Self::LinearStreamed => "NF4 linear 2048 → 8192, 1 row, weights from memory",
            Self::LinearMany => "NF4 linear 2048 → 8192, 512 rows",
        })
    }
}

/// How much work one run is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Workload {
    pub(crate) n_prompt_tokens: usize,
    pub(crate) n_new_tokens: usize,
    pub(crate) batch_size: usize,
    pub(crate) n_seq_tokens: usize,
    pub(crate) n_steps: usize,
}

impl Workload {
    /// What the tables of the project are made with.
    pub(crate) fn standard() -> Self {
        Self {
            n_prompt_tokens: 512,
            n_new_tokens: 128,
            batch_size: 4,
            n_seq_tokens: 128,
            n_steps: 6,
        }
    }

    /// The command with how much it trains, which every trainer is told in the same words.
    fn trained_by(&self, mut command: Vec<OsString>) -> Vec<OsString> {
        command.extend(command![
            "--batch",
            self.batch_size.to_string(),
            "--seq",
            self.n_seq_tokens.to_string(),
            "--steps",
            self.n_steps.to_string(),
        ]);
        command
    }

    /// The least that runs.
    pub(crate) fn smoke() -> Self {
        Self {
            n_prompt_tokens: 16,
            n_new_tokens: 4,
            batch_size: 1,
            n_seq_tokens: 16,
            n_steps: 1,
        }
    }
}

/// One program with one form of the model.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) jobs: Vec<Job>,
    /// What must be there, and what makes it.
    pub(crate) needs: Vec<(PathBuf, &'static str)>,
}

impl Contender {
    /// Fails before anything is timed.
    pub(crate) fn check_files(&self) -> Result<()> {
        self.needs
            .iter()
            .try_for_each(|(path, made_by)| ensure_exists(path, made_by))
    }
}

/// One command and the figures that it prints.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) command: Vec<OsString>,
    pub(crate) fields: Vec<(Metric, Field)>,
}

/// Where a figure stands in the JSON that a contender prints.
#[derive(Debug)]
pub(crate) struct Field(pub(crate) &'static str);

impl Field {
    pub(crate) fn read(&self, answer: &Value) -> Option<f64> {
        answer.pointer(self.0)?.as_f64()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number at `{}`", self.0)
    }
}

pub(crate) const SETUP: &str = "benches/peers/setup.sh";
pub(crate) const BUILD: &str = "cargo build --release";

/// LoRA as burn has it, on burn's own modules.
pub(crate) const BURN_LORA: &str = "burn apply_lora";
const BUILD_BURN_LORA: &str = "cargo build --release -p firebox-train --example burn_lora";

/// The GGUF forms that llama.cpp is timed with.
const GGUF_FORMATS: [&str; 4] = ["f32", "f16", "q8_0", "q4_1"];

/// The forms that firebox is timed with: name, file of the model, `--weights`. Keys and values are
/// f16, as llama.cpp's are, or f32 beside weights of f32.
const FIREBOX_FORMS: [(&str, &str, &str); 6] = [
    ("f32", "smollm2-bf16", "f32"),
    ("bf16", "smollm2-bf16", "stored"),
    ("bf16-dot", "smollm2-bf16", "bf16-dot"),
    ("f16", "smollm2-f16.gguf", "stored"),
    ("q8_0", "smollm2-q8_0.gguf", "blocks"),
    ("q4_1", "smollm2-q4_1.gguf", "blocks"),
];

/// All of them: firebox in its forms and in each of `models`, then the peers.
pub(crate) fn contenders(
    work: &Path,
    firebox: &Path,
    models: &[(String, PathBuf)],
    n_threads: usize,
    workload: &Workload,
) -> Vec<Contender> {
    let checkpoint = work.join("models").join("smollm2-bf16");
    let form = |name: &str, model: &Path, weights: &str| {
        let form = Form {
            name,
            model,
            weights,
        };
        firebox_decoder(&form, firebox, n_threads, workload)
    };
    let mut all: Vec<Contender> = FIREBOX_FORMS
        .iter()
        .map(|(name, file, weights)| form(name, &work.join("models").join(file), weights))
        .collect();
    for (of, precision) in [(0, "f32"), (2, "bf16"), (3, "f16")] {
        let training = firebox_training(firebox, &checkpoint, precision, n_threads, workload);
        all[of].jobs.extend(training);
    }
    all.extend(linear::contenders(work, firebox, n_threads));
    all.extend(models.iter().map(|(name, path)| form(name, path, "stored")));
    all.extend(GGUF_FORMATS.map(|format| llama_contender(format, work, n_threads, workload)));
    all.push(burn_lora(firebox, n_threads, workload));
    for dtype in ["fp32", "bf16", "fp16"] {
        all.push(torch_contender(
            dtype,
            work,
            &checkpoint,
            n_threads,
            workload,
        ));
    }
    all
}

/// A form of the model.
struct Form<'a> {
    name: &'a str,
    model: &'a Path,
    weights: &'a str,
}

fn firebox_training(
    firebox: &Path,
    model: &Path,
    precision: &str,
    n_threads: usize,
    workload: &Workload,
) -> [Job; 2] {
    let train = |mode: &str, metric| Job {
        command: workload.trained_by(command![
            firebox,
            "bench",
            "train",
            "--model",
            model,
            "--mode",
            mode,
            "--precision",
            precision,
            "--threads",
            n_threads.to_string(),
            "--json",
        ]),
        fields: vec![(metric, Field("/tokens_per_s"))],
    };
    [
        train("full", Metric::TrainFull),
        train("lora", Metric::TrainLora),
    ]
}

fn firebox_decoder(
    form: &Form<'_>,
    firebox: &Path,
    n_threads: usize,
    workload: &Workload,
) -> Contender {
    let Form {
        name,
        model,
        weights,
    } = *form;
    let decode = Job {
        command: command![
            firebox,
            "bench",
            "decode",
            "--model",
            model,
            "--weights",
            weights,
            "--kv-cache",
            if weights == "f32" { "f32" } else { "f16" },
            "--prompt-tokens",
            workload.n_prompt_tokens.to_string(),
            "--new-tokens",
            workload.n_new_tokens.to_string(),
            "--runs",
            "1",
            "--threads",
            n_threads.to_string(),
            "--json",
        ],
        fields: vec![
            (Metric::Prefill, Field("/prefill_tokens_per_s")),
            (Metric::Decode, Field("/decode_tokens_per_s")),
        ],
    };
    Contender {
        name: format!("firebox {name}"),
        jobs: vec![decode],
        needs: vec![(firebox.to_owned(), BUILD), (model.to_owned(), SETUP)],
    }
}

/// llama.cpp's own `llama-bench`: a warm-up and one timed run for each figure.
fn llama_contender(format: &str, work: &Path, n_threads: usize, workload: &Workload) -> Contender {
    let program = work.join("llama").join("bin").join("llama-bench");
    let model = work.join("models").join(format!("smollm2-{format}.gguf"));
    let job = |n_prompt: usize, n_new: usize, depth: usize, metric| Job {
        command: command![
            &program,
            "-m",
            &model,
            "-t",
            n_threads.to_string(),
            "-r",
            "1",
            "-o",
            "json",
            "-p",
            n_prompt.to_string(),
            "-n",
            n_new.to_string(),
            "-d",
            depth.to_string(),
        ],
        fields: vec![(metric, Field("/0/avg_ts"))],
    };
    Contender {
        name: format!("llama.cpp {}", format.to_uppercase()),
        jobs: vec![
            job(workload.n_prompt_tokens, 0, 0, Metric::Prefill),
            job(
                0,
                workload.n_new_tokens,
                workload.n_prompt_tokens,
                Metric::Decode,
            ),
        ],
        needs: vec![(program, SETUP), (model, SETUP)],
    }
}

/// An example of `firebox-train`, which lies beside the binary.
fn burn_lora(firebox: &Path, n_threads: usize, workload: &Workload) -> Contender {
    let program = firebox.with_file_name("examples").join("burn_lora");
    let threads = format!("RAYON_NUM_THREADS={n_threads}");
    let job = Job {
        command: workload.trained_by(command!["env", threads, &program]),
        fields: vec![(Metric::TrainLora, Field("/tokens_per_s"))],
    };
    Contender {
        name: BURN_LORA.to_owned(),
        jobs: vec![job],
        needs: vec![(program, BUILD_BURN_LORA)],
    }
}

fn torch_contender(
    dtype: &str,
    work: &Path,
    model: &Path,
    n_threads: usize,
    workload: &Workload,
) -> Contender {
    let python = work.join("venv").join("bin").join("python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join("bench_torch.py");
    let job = |what: &str, fields| Job {
        command: workload.trained_by(command![
            &python,
            &script,
            model,
            what,
            "--dtype",
            dtype,
            "--threads",
            n_threads.to_string(),
            "--prompt-tokens",
            workload.n_prompt_tokens.to_string(),
            "--new-tokens",
            workload.n_new_tokens.to_string(),
        ]),
        fields,
    };
    let inference = vec![
        (Metric::Prefill, Field("/prefill_tokens_per_s")),
        (Metric::Decode, Field("/decode_tokens_per_s")),
    ];
    let training = |metric| vec![(metric, Field("/tokens_per_s"))];
    let mut jobs = vec![
        job("train-full", training(Metric::TrainFull)),
        job("train-lora", training(Metric::TrainLora)),
    ];
    // Nobody runs a decoder in half precision on a CPU.
    if dtype != "fp16" {
        jobs.insert(0, job("infer", inference));
    }
    Contender {
        name: format!("torch {dtype}"),
        jobs,
        needs: vec![(python.clone(), SETUP), (model.to_owned(), SETUP)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Contender> {
        let models = [("nf4".to_owned(), PathBuf::from("m"))];
        contenders(
            Path::new("w"),
            Path::new("firebox"),
            &models,
            2,
            &Workload::standard(),
        )
    }

    #[test]
    fn every_metric_has_firebox_and_a_peer() {
        for metric in [
            Metric::Prefill,
            Metric::Decode,
            Metric::TrainFull,
            Metric::TrainLora,
        ] {
            let names: Vec<String> = all()
                .into_iter()
                .filter(|c| {
                    c.jobs
                        .iter()
                        .any(|job| job.fields.iter().any(|(m, _)| *m == metric))
                })
                .map(|contender| contender.name)
                .collect();
            assert_eq!(names[0], "firebox f32", "{metric}");
            assert!(
                names.iter().any(|name| !name.starts_with("firebox")),
                "{metric}"
            );
        }
    }

    #[test]
    fn llama_bench_prints_a_list_and_the_others_an_object() {
        let field = Field("/0/avg_ts");
        assert_eq!(field.read(&serde_json::json!([{"avg_ts": 8.5}])), Some(8.5));
        assert_eq!(
            Field("/tokens_per_s").read(&serde_json::json!({"tokens_per_s": 2})),
            Some(2.0)
        );
        assert_eq!(field.read(&serde_json::json!([])), None);
    }

    #[test]
    fn a_missing_file_names_what_makes_it() {
        let error = all()[0].check_files().unwrap_err().to_string();
        assert_eq!(
            error,
            "expected `firebox`, found nothing (hint: run cargo build --release)"
        );
    }
}
