//! `firebox bench`.

use std::time::Instant;

use burn::module::Module;
use firebox_model::{CausalLm, GenerateConfig, LoraConfig, SamplingConfig};
use firebox_tensor::autocast::Autocast;
use firebox_tensor::host::SimdLevel;
use firebox_tensor::{burn, cpu, memory, random::CounterRng};
use firebox_train::{OptimizerConfig, Schedule, TrainConfig};
use serde::Serialize;

use super::args::{BenchDecodeArgs, BenchTrainArgs, Globals, Mode, ModelArgs};
use super::generate::rate;
use super::model::{Linears, LoadedModel, Trainable};
use super::output;

/// Runs of one measurement, in order of time.
#[derive(Serialize)]
struct DecodeBench {
    prompt_tokens: usize,
    new_tokens: usize,
    threads: usize,
    /// The instructions of the kernels, `--simd`.
    simd: &'static str,
    /// Medians of the counted runs.
    prefill_tokens_per_s: f64,
    decode_tokens_per_s: f64,
    prefill_runs: Vec<f64>,
    decode_runs: Vec<f64>,
    load_s: f64,
    peak_rss_bytes: u64,
}

#[derive(Serialize)]
struct TrainBench {
    mode: &'static str,
    precision: String,
    batch: usize,
    seq: usize,
    threads: usize,
    simd: &'static str,
    trainable_params: usize,
    /// Median of the counted steps.
    tokens_per_s: f64,
    runs: Vec<f64>,
    first_loss: f64,
    last_loss: f64,
    start_rss_bytes: u64,
    peak_rss_bytes: u64,
}

pub(crate) fn decode(globals: &Globals, args: &BenchDecodeArgs) -> anyhow::Result<()> {
    let start = Instant::now();
    let loaded = LoadedModel::open(globals, &args.model)?;
    let load_s = start.elapsed().as_secs_f64();
    let prompt = random_ids(&loaded.model, args.prompt_tokens, 0);
    let (mut prefill_runs, mut decode_runs) = (Vec::new(), Vec::new());
    for run in 0..=args.runs {
        let decode = loaded.files.tokenizer.decoder(false);
        let [prefill, decode] = rates(&loaded.model, &prompt, args.new_tokens, decode)?;
        if run > 0 {
            prefill_runs.push(prefill);
            decode_runs.push(decode);
        }
    }
    let bench = DecodeBench {
        prompt_tokens: prompt.len(),
        new_tokens: args.new_tokens,
        threads: rayon::current_num_threads(),
        simd: SimdLevel::current().name(),
        prefill_tokens_per_s: median(&prefill_runs),
        decode_tokens_per_s: median(&decode_runs),
        prefill_runs,
        decode_runs,
        load_s,
        peak_rss_bytes: memory::process().peak_rss_bytes,
    };
    output::print(globals.json, &bench, || {
        format!(
            "prefill {} tokens: {:.1} tok/s; decode {} after them: {:.1} tok/s (medians of {} runs, {} threads, {}); peak memory {}",
            bench.prompt_tokens,
            bench.prefill_tokens_per_s,
            bench.new_tokens,
            bench.decode_tokens_per_s,
            bench.decode_runs.len(),
            bench.threads,
            bench.simd,
            output::bytes(bench.peak_rss_bytes)
        )
    })
}

/// Tokens a second of one run: reading the prompt, and writing after it.
pub(crate) fn rates(
    model: &impl CausalLm,
    prompt: &[u32],
    new_tokens: usize,
    decode: impl FnMut(Option<u32>) -> String,
) -> anyhow::Result<[f64; 2]> {
    let config = GenerateConfig {
        sampling: SamplingConfig::default(),
        max_new_tokens: new_tokens + 1,
        eos_ids: vec![],
        stop: vec![],
    };
    let mut generation = model.generate(prompt, config, decode)?;
    let start = Instant::now();
    generation.prefill();
    let prefill = start.elapsed();
    // The first token comes from the prompt's last hidden state, without a pass of its own.
    generation.next();
    let start = Instant::now();
    let n = generation.by_ref().count();
    Ok([rate(prompt.len(), prefill), rate(n, start.elapsed())])
}

pub(crate) fn train(globals: &Globals, args: &BenchTrainArgs) -> anyhow::Result<()> {
    firebox_tensor::host::keep_freed_memory();
    let start_rss_bytes = memory::process().rss_bytes;
    let model = ModelArgs {
        model: args.model.clone(),
        adapter: None,
    };
    let loaded = Trainable::open(
        globals,
        &model,
        Linears::with_adapter(args.mode == Mode::Lora),
    )?;
    let model = loaded.model;
    let autocast = Autocast::new(args.precision, &model.device());
    let model = model.with_autocast(autocast);
    let model = match args.mode {
        Mode::Full => model,
        Mode::Lora => model.attach_lora(&LoraConfig::new(8, 16.0, ["q_proj", "v_proj"]), 0)?,
    };
    let rows: Vec<Vec<u32>> = (0..args.batch)
        .map(|i| random_ids(&model, args.seq, i as u64))
        .collect();
    let examples: Vec<_> = rows
        .into_iter()
        .map(firebox_data::Example::from_ids)
        .collect();
    let batches = vec![firebox_data::Batch::pad(&examples, 0)];
    let config = TrainConfig {
        optimizer: OptimizerConfig::default(),
        ..TrainConfig::new(args.steps + 1, Schedule::constant(1e-5))
    };
    let mut times = StepTimes {
        last: Instant::now(),
        seconds: Vec::new(),
    };
    let (_, summary) =
        firebox_train::train(model.train(), &mut batches.as_slice(), &config, &mut times)?;
    let tokens = args.batch * args.seq;
    let runs: Vec<f64> = times.seconds[1..]
        .iter()
        .map(|s| tokens as f64 / s)
        .collect();
    let bench = TrainBench {
        mode: if args.mode == Mode::Full {
            "full"
        } else {
            "lora"
        },
        precision: args.precision.to_string(),
        batch: args.batch,
        seq: args.seq,
        threads: rayon::current_num_threads(),
        simd: cpu::simd_level(),
        trainable_params: summary.n_trainable_params,
        tokens_per_s: median(&runs),
        runs,
        first_loss: summary.first_loss().unwrap_or(f64::NAN),
        last_loss: summary.last_loss().unwrap_or(f64::NAN),
        start_rss_bytes,
        peak_rss_bytes: memory::process().peak_rss_bytes,
    };
    output::print(globals.json, &bench, || {
        format!(
            "{} fine-tuning in {}, {} × {} tokens a step: {:.1} tok/s (median of {} steps, {} threads, {}); peak memory {}",
            bench.mode,
            bench.precision,
            bench.batch,
            bench.seq,
            bench.tokens_per_s,
            bench.runs.len(),
            bench.threads,
            bench.simd,
            output::bytes(bench.peak_rss_bytes)
        )
    })
}

/// Wall time of each step.
struct StepTimes {
    last: Instant,
    seconds: Vec<f64>,
}

impl firebox_train::Observer for StepTimes {
    fn on_start(&mut self, _: &firebox_train::RunPlan) {
        self.last = Instant::now();
    }

    fn on_step(&mut self, _: &firebox_train::StepReport) {
        self.seconds.push(self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
    }
}

fn random_ids(model: &impl CausalLm, n: usize, stream: u64) -> Vec<u32> {
    let mut rng = CounterRng::new(1, stream);
    (0..n)
        .map(|_| rng.below(model.config().vocab_size as u64) as u32)
        .collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
