//! `firebox diagnose`: the error laboratory, and what the detectors say of a run.

use std::path::Path;
use std::time::SystemTime;

use clap::Subcommand;
use firebox_checkpoint::write_atomic;
use firebox_train::diagnose::lab::{N_HEALTHY, Reproduction, healthy, reproduce};
use firebox_train::diagnose::{Failure, Finding, Watch};
use firebox_train::read_metrics;
use serde::{Deserialize, Serialize};

use super::args::{DiagnoseRunArgs, Globals};
use super::exit::UserError;
use super::output;

#[derive(Debug, Subcommand)]
pub(crate) enum DiagnoseCommand {
    /// Name every failure, with what happens and what to do
    List,
    /// Reproduce a failure, recognise it and show the fix; all of them without a name
    Reproduce {
        /// The failure, as `list` names it
        name: Option<String>,
    },
    /// Say what the detectors see in a run
    Run(DiagnoseRunArgs),
}

pub(crate) fn run(globals: &Globals, command: &DiagnoseCommand) -> anyhow::Result<()> {
    match command {
        DiagnoseCommand::List => list(globals),
        DiagnoseCommand::Reproduce { name: Some(name) } => {
            let failure = name
                .parse()
                .map_err(|error| UserError(format!("{error}")))?;
            one(globals, failure)
        }
        DiagnoseCommand::Reproduce { name: None } => all(globals),
        DiagnoseCommand::Run(args) => of_run(globals, args),
    }
}

#[derive(Serialize)]
struct Described {
    failure: Failure,
    explanation: &'static str,
    fix: &'static str,
}

fn list(globals: &Globals) -> anyhow::Result<()> {
    let described = Failure::ALL.map(|failure| Described {
        failure,
        explanation: failure.explanation(),
        fix: failure.fix(),
    });
    output::print(globals.json, &described.as_slice(), || {
        let paragraph = |item: &Described| {
            let Described {
                failure,
                explanation,
                fix,
            } = item;
            format!("{failure}\n  {explanation}\n  Fix: {fix}\n")
        };
        described
            .iter()
            .map(paragraph)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn one(globals: &Globals, failure: Failure) -> anyhow::Result<()> {
    let found = reproduce(failure);
    output::print(globals.json, &found, || {
        let losses = |losses: &[f64]| match (losses.first(), losses.last()) {
            (Some(first), Some(last)) => {
                format!("loss {first:.4} → {last:.4} in {} steps", losses.len())
            }
            _ => "no step".to_owned(),
        };
        let mut lines = vec![
            format!("{failure}\n  {}", failure.explanation()),
            format!("Broken: {}", losses(&found.broken.losses)),
        ];
        if let Some(error) = &found.broken.error {
            lines.push(format!("  it ended with: {error}"));
        }
        lines.push(match found.broken.finding(failure) {
            Some(finding) => format!("  {}", said(finding)),
            None => "  not recognised".to_owned(),
        });
        lines.push(format!("Fix: {}", failure.fix()));
        lines.push(format!("Fixed: {}", losses(&found.fixed.losses)));
        lines.push(match found.is_shown() {
            true => "  nothing found in it".to_owned(),
            false => format!("  {:?} {:?}", found.fixed.findings, found.fixed.error),
        });
        lines.join("\n")
    })
}

/// What is shown of all failures.
#[derive(Serialize)]
struct Laboratory {
    reproductions: Vec<Reproduction>,
    n_healthy_runs: usize,
    false_alarms: Vec<Finding>,
}

fn all(globals: &Globals) -> anyhow::Result<()> {
    let bar = super::progress::counter("reproduce", Failure::ALL.len() + N_HEALTHY);
    let mut reproductions = Vec::new();
    for failure in Failure::ALL {
        reproductions.push(reproduce(failure));
        bar.inc(1);
    }
    let mut false_alarms = Vec::new();
    for number in 0..N_HEALTHY {
        false_alarms.extend(healthy(number).findings);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let lab = Laboratory {
        reproductions,
        n_healthy_runs: N_HEALTHY,
        false_alarms,
    };
    let n_shown = lab
        .reproductions
        .iter()
        .filter(|found| found.is_shown())
        .count();
    output::print(globals.json, &lab, || {
        let mut table = output::table(&["failure", "recognised", "because", "fixed"]);
        for found in &lab.reproductions {
            let finding = found.broken.finding(found.failure);
            table.add_row(vec![
                found.failure.to_string(),
                finding.map_or("no".to_owned(), |finding| match finding.step {
                    0 => "before step 1".to_owned(),
                    step => format!("step {step}"),
                }),
                finding.map_or(String::new(), |finding| finding.evidence.clone()),
                if found.is_shown() { "yes" } else { "no" }.to_owned(),
            ]);
        }
        format!(
            "{table}\n{n_shown} of {} reproduced, recognised and fixed; {} false alarms in {} healthy runs",
            lab.reproductions.len(),
            lab.false_alarms.len(),
            lab.n_healthy_runs
        )
    })?;
    match n_shown == lab.reproductions.len() && lab.false_alarms.is_empty() {
        true => Ok(()),
        false => {
            anyhow::bail!("the laboratory: a failure was not shown, or a healthy run was blamed")
        }
    }
}

/// What the detectors say of a run, and how long it took to repair.
#[derive(Serialize, Deserialize)]
struct Diagnosis {
    findings: Vec<Finding>,
    /// From the first finding to the start of the run without it.
    minutes_to_fix: Option<f64>,
}

/// In the folder of the run that was repaired.
const DIAGNOSIS: &str = "diagnosis.json";

fn of_run(globals: &Globals, args: &DiagnoseRunArgs) -> anyhow::Result<()> {
    let findings = findings(&args.run)?;
    let mut diagnosis = Diagnosis {
        findings,
        minutes_to_fix: None,
    };
    if let Some(fixed) = &args.fixed_by {
        diagnosis.minutes_to_fix = Some(minutes_to_fix(&args.run, fixed, &diagnosis.findings)?);
    }
    let bytes = serde_json::to_vec_pretty(&diagnosis)?;
    write_atomic(&args.run.join(DIAGNOSIS), &bytes)?;
    output::print(globals.json, &diagnosis, || {
        let mut lines: Vec<String> = diagnosis
            .findings
            .iter()
            .map(|finding| {
                let failure = finding.failure;
                format!(
                    "{}\n  {}\n  Fix: {}",
                    said(finding),
                    failure.explanation(),
                    failure.fix()
                )
            })
            .collect();
        if lines.is_empty() {
            lines.push("nothing found".to_owned());
        }
        if let Some(minutes) = diagnosis.minutes_to_fix {
            lines.push(format!("repaired within {minutes:.1} minutes"));
        }
        lines.join("\n")
    })
}

/// The detectors over the lines of a run: what they said while it went, and what newer ones see.
fn findings(run: &Path) -> anyhow::Result<Vec<Finding>> {
    let path = run.join("metrics.jsonl");
    if !path.is_file() {
        let text = format!(
            "diagnose run `{}`: expected the folder of a run with its `metrics.jsonl`, found none \
             (hint: runs are under `runs/`)",
            run.display()
        );
        return Err(UserError(text).into());
    }
    let mut watch = Watch::default();
    for metric in read_metrics(&path)? {
        watch.see(&metric);
    }
    Ok(watch.findings().to_vec())
}

/// From the last change of the broken run's metrics, which ends with what was found, to the first
/// settings of a run that does not have the same findings.
fn minutes_to_fix(broken: &Path, fixed: &Path, found: &[Finding]) -> anyhow::Result<f64> {
    let again = findings(fixed)?;
    let is_left = |finding: &&Finding| again.iter().any(|other| other.failure == finding.failure);
    if let Some(left) = found.iter().find(is_left) {
        let text = format!(
            "--fixed-by `{}`: expected a run without `{}`, found it there too: {} \
             (hint: name the run in which it is repaired)",
            fixed.display(),
            left.failure,
            left.evidence
        );
        return Err(UserError(text).into());
    }
    let changed = |path: &Path, name: &str| -> anyhow::Result<SystemTime> {
        Ok(std::fs::metadata(path.join(name))?.modified()?)
    };
    let seen = changed(broken, "metrics.jsonl")?;
    let started = changed(fixed, "train.toml")?;
    let time = started.duration_since(seen).unwrap_or_default();
    Ok(time.as_secs_f64() / 60.0)
}

/// One line about a finding.
pub(crate) fn said(finding: &Finding) -> String {
    let when = match finding.step {
        0 => "before the first step".to_owned(),
        step => format!("step {step}"),
    };
    format!("{when}: {}: {}", finding.failure, finding.evidence)
}
