//! What a run measures, line by line as it happens.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use firebox_checkpoint::write_atomic;
use serde::{Deserialize, Serialize};

use crate::{
    diagnose::Finding,
    evaluation::Evaluation,
    observer::{StepRecord, StepReport},
    run_error::RunError,
    signals::{Setup, StepSignals},
};

/// One line of a run's `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Metric {
    /// What is known before the first step.
    Setup {
        /// The settings that the detectors go by.
        setup: Setup,
    },
    /// An optimizer step.
    Step {
        /// What the step did: equal in every repetition of the run.
        #[serde(flatten)]
        record: StepRecord,
        /// What the detectors go by.
        #[serde(default)]
        signals: StepSignals,
        /// Input tokens a second, over the run so far.
        tokens_per_s: f64,
        /// Since the run's start, pauses left out, in seconds.
        elapsed_s: f64,
    },
    /// An evaluation.
    Evaluation {
        /// The step after which it was made.
        step: usize,
        /// What came of it.
        #[serde(flatten)]
        evaluation: Evaluation,
        /// The loss of a second evaluation of the same weights; made once, at the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repeated_loss: Option<f64>,
    },
    /// A loss or a gradient that is not finite: the run ends, unless losses are scaled.
    NonFinite {
        /// The step, from 1.
        step: usize,
        /// `loss` or `gradient`.
        what: String,
    },
    /// The run went on in a new process.
    Resumed {
        /// The last step that was done before.
        step: usize,
        /// Whether the last batch before is still the same; unknown for data without tokens.
        has_same_data: Option<bool>,
    },
    /// A detector recognised a failure.
    Finding {
        /// Which, and why.
        finding: Finding,
    },
}

impl Metric {
    /// A step's line.
    pub fn of_step(report: &StepReport) -> Self {
        Self::Step {
            record: report.record.clone(),
            signals: report.signals.clone(),
            tokens_per_s: report.tokens_per_s,
            elapsed_s: report.elapsed.as_secs_f64(),
        }
    }

    /// The step that the line belongs to, from 1.
    pub fn step(&self) -> usize {
        match self {
            Self::Step { record, .. } => record.step,
            Self::Setup { .. } => 0,
            Self::Evaluation { step, .. }
            | Self::NonFinite { step, .. }
            | Self::Resumed { step, .. } => *step,
            Self::Finding { finding } => finding.step,
        }
    }
}

/// Reads the lines of a run. A last line that a kill cut off is left out.
///
/// # Errors
/// When the file cannot be read, or a line before the last is no metric.
pub fn read_metrics(path: &Path) -> Result<Vec<Metric>, RunError> {
    let text = fs::read_to_string(path).map_err(|source| RunError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut metrics = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match serde_json::from_str(line) {
            Ok(metric) => metrics.push(metric),
            Err(_) if lines.peek().is_none() && !text.ends_with('\n') => {}
            Err(source) => {
                return Err(RunError::Line {
                    path: path.to_owned(),
                    line: index + 1,
                    source,
                });
            }
        }
    }
    Ok(metrics)
}

/// The open file: every line is with the system when the call returns.
#[derive(Debug)]
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Begins an empty log.
    pub(crate) fn create(path: &Path) -> Result<Self, RunError> {
        write_atomic(path, b"")?;
        Self::append(path)
    }

    /// Goes on after `step`: later lines, of a part of the run that is about to be repeated, are
    /// taken away. Gives the lines that stay.
    pub(crate) fn resume(path: &Path, step: usize) -> Result<(Self, Vec<Metric>), RunError> {
        let mut metrics = read_metrics(path)?;
        metrics.retain(|metric| metric.step() <= step);
        // What ended a run that goes on has not happened to it.
        metrics.retain(|metric| !matches!(metric, Metric::NonFinite { .. }));
        let mut text = Vec::new();
        for metric in &metrics {
            text.extend(line(metric));
        }
        write_atomic(path, &text)?;
        Ok((Self::append(path)?, metrics))
    }

    fn append(path: &Path) -> Result<Self, RunError> {
        let file = OpenOptions::new().append(true).open(path);
        let file = file.map_err(|source| RunError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    pub(crate) fn push(&mut self, metric: &Metric) -> Result<(), RunError> {
        let written = self.file.write_all(&line(metric));
        written.map_err(|source| RunError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

fn line(metric: &Metric) -> Vec<u8> {
    let mut line = serde_json::to_vec(metric).expect("plain data has a JSON form");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize) -> Metric {
        Metric::Step {
            record: StepRecord {
                step,
                loss: 0.1 + 0.2,
                learning_rate: 1e-3,
                grad_norm: 1.0 / 3.0,
                n_tokens: 7,
                loss_scale: None,
                skipped: false,
            },
            signals: StepSignals::default(),
            tokens_per_s: 10.0,
            elapsed_s: 0.5,
        }
    }

    #[test]
    fn a_resumed_log_has_no_line_of_the_part_that_is_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).unwrap();
        for n in 1..=5 {
            log.push(&step(n)).unwrap();
        }
        drop(log);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"kind\":\"st").unwrap(); // A kill in the middle of a line.

        let (mut log, kept) = MetricsLog::resume(&path, 3).unwrap();
        assert_eq!(kept, [step(1), step(2), step(3)]);
        log.push(&step(4)).unwrap();
        assert_eq!(read_metrics(&path).unwrap().len(), 4);
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error_with_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        fs::write(&path, "{\"kind\":\"st\n{}\n").unwrap();
        let error = read_metrics(&path).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
