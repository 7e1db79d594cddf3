//! The command line: one module a verb, one JSON object on stdout with `--json`, everything else
//! on stderr.

mod args;
mod bench;
mod bench_kernels;
mod bench_serve;
mod chat;
mod classify;
mod convert;
mod corpus;
mod data;
mod diagnose;
mod doctor;
mod embed;
mod eval;
mod exit;
mod finetune;
mod generate;
mod head_scores;
mod labelled;
mod learning_loop;
mod merge;
mod model;
mod output;
mod progress;
mod pull;
mod quantize;
mod save;
mod serve;
mod tokenizer;
mod tokenizer_args;
mod tokenizer_compare;
mod tokenizer_train;
mod train;

use std::process::ExitCode;

use clap::Parser;
use firebox_tensor::host::SimdLevel;

use args::{BenchCommand, Cli, Command, EvalCommand, Globals};
use tokenizer_args::TokenizerCommand;

/// Runs the program: 0 when it did what was asked, 2 when the request was at fault, 1 when the
/// machine was.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let globals = cli.globals;
    start_threads(&globals)?;
    choose_simd(&globals)?;
    match cli.command {
        Command::Pull(args) => pull::run(&globals, &args),
        Command::Doctor(args) => doctor::run(&globals, &args),
        Command::Data(command) => corpus::run(&globals, &command),
        Command::Tokenizer(TokenizerCommand::Encode(args)) => tokenizer::encode(&globals, &args),
        Command::Tokenizer(TokenizerCommand::Decode(args)) => tokenizer::decode(&globals, &args),
        Command::Tokenizer(TokenizerCommand::Train(args)) => tokenizer_train::run(&globals, &args),
        Command::Tokenizer(TokenizerCommand::Compare(args)) => {
            tokenizer_compare::run(&globals, &args)
        }
        Command::Generate(args) => generate::run(&globals, &args),
        Command::Chat(args) => chat::run(&globals, &args),
        Command::Embed(args) => embed::run(&globals, &args),
        Command::Train(args) => train::run(&globals, &args),
        Command::Classify(args) => classify::run(&globals, &args),
        Command::Diagnose(command) => diagnose::run(&globals, &command),
        Command::Finetune(args) => finetune::run(&globals, &args),
        Command::Merge(args) => merge::run(&globals, &args),
        Command::Quantize(args) => quantize::run(&globals, &args),
        Command::Convert(args) => convert::run(&globals, &args),
        Command::Eval(EvalCommand::Perplexity(args)) => eval::perplexity(&globals, &args),
        Command::Eval(EvalCommand::Divergence(args)) => eval::divergence(&globals, &args),
        Command::Bench(BenchCommand::Decode(args)) => bench::decode(&globals, &args),
        Command::Bench(BenchCommand::Train(args)) => bench::train(&globals, &args),
        Command::Bench(BenchCommand::Linear(args)) => bench_kernels::linear(&globals, &args),
        Command::Bench(BenchCommand::Serve(args)) => bench_serve::run(&globals, &args),
        Command::Bench(BenchCommand::Machine) => bench_kernels::machine(&globals),
        Command::Serve(args) => serve::run(&globals, &args),
        Command::Key(args) => serve::make_key(&globals, &args),
        Command::Loop(args) => learning_loop::run(&globals, &args),
    }
}

/// One pool for every kernel, before anything uses it. A thread that waits for its share of one
/// request's step may start another's on top, so the stacks are generous.
fn start_threads(globals: &Globals) -> anyhow::Result<()> {
    let n_threads = globals.threads.unwrap_or(0); // 0: all cores
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
    Ok(pool.stack_size(STACK_BYTES).build_global()?)
}

/// `--simd`, or `FIREBOX_SIMD`.
fn choose_simd(globals: &Globals) -> anyhow::Result<()> {
    let from_environment = std::env::var("FIREBOX_SIMD")
        .ok()
        .filter(|name| !name.is_empty());
    let level = match (globals.simd, from_environment) {
        (Some(level), _) => Some(level),
        (None, Some(name)) => Some(name.parse::<SimdLevel>()?),
        (None, None) => None,
    };
    if let Some(level) = level {
        level.force()?;
    }
    Ok(())
}

/// Stack of a pool thread; memory is taken only as it is used.
const STACK_BYTES: usize = 16 << 20;
