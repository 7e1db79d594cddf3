//! Times `firebox` beside llama.cpp and PyTorch, by turns, on one machine and one model.
//!
//! Run with: cargo run --release -p firebox-benches -- --work WORK
//!
//! WORK is the folder that `benches/peers/setup.sh` prepared. Each round starts every contender once, in
//! an order that shifts from round to round, so that a machine which warms up or slows down favours nobody.

mod contender;
mod limits;
mod linear;
mod machine;
mod report;
mod summary;
mod targets;
mod watched;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use contender::{Contender, Job, Workload, contenders};
use limits::Limits;
use machine::Machine;
use report::{Report, Rounds};
use summary::{Sample, Samples};

/// Times firebox beside llama.cpp and PyTorch
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder that `benches/peers/setup.sh` prepared
    #[arg(long)]
    work: PathBuf,
    /// The firebox binary; the one beside this program unless given
    #[arg(long)]
    firebox: Option<PathBuf>,
    /// Another form of the model for firebox, as NAME=PATH; may be given again
    #[arg(long = "model", value_name = "NAME=PATH", value_parser = parse_model)]
    models: Vec<(String, PathBuf)>,
    /// Folder for the results
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// How often each contender runs
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// CPU threads of each contender
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Only contenders whose name contains this text
    #[arg(long)]
    only: Option<String>,
    /// No contender of this name, such as `torch fp16` where that takes a quarter of an hour; may be
    /// given again
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
    /// A few tokens and steps: tries the commands, and gives figures that mean nothing
    #[arg(long)]
    smoke: bool,
}

impl Arguments {
    /// Which contenders are left, as it was asked for.
    fn selection(&self) -> String {
        let only = self.only.iter().map(|text| format!(" --only \"{text}\""));
        let skipped = self.skip.iter().map(|name| format!(" --skip \"{name}\""));
        only.chain(skipped).collect()
    }
}

fn parse_model(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() => Ok((name.to_owned(), PathBuf::from(path))),
        _ => Err("expected NAME=PATH, for example `nf4=models/smollm2-nf4`".to_owned()),
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let workload = if arguments.smoke {
        Workload::smoke()
    } else {
        Workload::standard()
    };
    let firebox = arguments
        .firebox
        .clone()
        .map_or_else(firebox_beside_us, Ok)?;
    let wanted = arguments.only.as_deref().unwrap_or_default();
    let contenders: Vec<Contender> = contenders(
        &arguments.work,
        &firebox,
        &arguments.models,
        arguments.threads,
        &workload,
    )
    .into_iter()
    .filter(|contender| contender.name.contains(wanted))
    .filter(|contender| !arguments.skip.contains(&contender.name))
    .collect();
    for contender in &contenders {
        contender.check_files()?;
    }
    ensure!(
        !contenders.is_empty(),
        "expected a contender called `{wanted}`, found none"
    );

    let machine = Machine::read(&firebox, arguments.threads)?;
    let (mut samples, mut limits) = (Samples::default(), Vec::new());
    for round in 0..arguments.rounds {
        limits.push(Limits::measure(&firebox, arguments.threads)?);
        run_round(round, &contenders, &mut samples)?;
        // What was measured is kept if the next round is stopped.
        let report = Report::new(
            machine.clone(),
            workload.clone(),
            Rounds {
                selection: arguments.selection(),
                n_rounds: round + 1,
            },
            Limits::median(&limits),
            samples.clone(),
        );
        let (json, markdown) = report.write(&arguments.out, arguments.smoke)?;
        note(&format!(
            "round {} of {} done, load {}: {} and {}",
            round + 1,
            arguments.rounds,
            machine::load(),
            json.display(),
            markdown.display()
        ));
        if round + 1 == arguments.rounds {
            write!(std::io::stdout(), "{}", report.markdown()).context("print the report")?;
        }
    }
    Ok(())
}

/// Every job of every contender; round `r` begins with contender `r`.
fn run_round(round: usize, contenders: &[Contender], samples: &mut Samples) -> Result<()> {
    for index in 0..contenders.len() {
        let contender = &contenders[(round + index) % contenders.len()];
        for job in &contender.jobs {
            run_job(contender, job, samples)?;
        }
    }
    Ok(())
}

fn run_job(contender: &Contender, job: &Job, samples: &mut Samples) -> Result<()> {
    let output = watched::run(&job.command).with_context(|| format!("time {}", contender.name))?;
    let answer: serde_json::Value = serde_json::from_str(&output.stdout).with_context(|| {
        format!(
            "read what {} printed: expected JSON, found `{}`",
            contender.name, output.stdout
        )
    })?;
    for (metric, field) in &job.fields {
        let tokens_per_s = field.read(&answer).with_context(|| {
            format!(
                "read what {} printed: expected {field}, found {answer}",
                contender.name
            )
        })?;
        let sample = Sample {
            tokens_per_s,
            peak_rss_bytes: output.peak_rss_bytes,
            start_rss_bytes: answer["start_rss_bytes"].as_u64(),
        };
        samples.add(*metric, &contender.name, sample);
        note(&format!(
            "{:<24} {metric:<12} {tokens_per_s:>9.1} tok/s",
            contender.name
        ));
    }
    Ok(())
}

/// `target/release/firebox`, where this program lies too.
fn firebox_beside_us() -> Result<PathBuf> {
    let us = std::env::current_exe().context("find this program")?;
    Ok(us.with_file_name("firebox"))
}

/// One line on stderr.
fn note(text: &str) {
    // A progress line that can't be shown is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Fails with the command that makes the file.
fn ensure_exists(path: &Path, made_by: &str) -> Result<()> {
    ensure!(
        path.exists(),
        "expected `{}`, found nothing (hint: run {made_by})",
        path.display()
    );
    Ok(())
}
