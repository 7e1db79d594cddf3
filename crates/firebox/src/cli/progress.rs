//! Progress bars on stderr; none where stderr is no terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use firebox_hub::Progress;
use firebox_tensor::memory;
use firebox_train::diagnose::Finding;
use firebox_train::{Evaluation, Observer, RunPlan, StepReport};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::diagnose;
use super::output::bytes;

/// How often a run without a terminal says where it is.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

const KNOWN_SIZE: &str = "{msg} {bytes} / {total_bytes} {bytes_per_sec} {wide_bar} {eta}";
/// pip does not tell how much there is.
const UNKNOWN_SIZE: &str = "{msg} {bytes} {bytes_per_sec} {spinner}";

/// The bar of a download.
pub(crate) struct PullBar {
    bar: ProgressBar,
}

impl PullBar {
    pub(crate) fn new() -> Self {
        Self {
            bar: ProgressBar::new(0).with_style(style(UNKNOWN_SIZE)),
        }
    }
}

impl Drop for PullBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for PullBar {
    fn report(&mut self, message: &str, done_bytes: u64, total_bytes: Option<u64>) {
        if self.bar.message() != message {
            self.bar.set_message(message.to_owned());
        }
        if total_bytes != self.bar.length() {
            let template = if total_bytes.is_some() {
                KNOWN_SIZE
            } else {
                UNKNOWN_SIZE
            };
            self.bar.set_style(style(template));
        }
        match total_bytes {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(done_bytes);
    }
}

/// A bar that counts items.
pub(crate) fn counter(what: &'static str, n: usize) -> ProgressBar {
    let bar = ProgressBar::new(n as u64);
    bar.set_style(style("{msg} {pos} / {len} {wide_bar} {eta}"));
    bar.set_message(what);
    bar
}

/// A bar's style.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The bar of a training run: loss, tokens per second, time left, memory.
pub(crate) struct TrainBar {
    bar: ProgressBar,
    /// Set by Ctrl-C and by SIGTERM: the run ends after the step at hand, and what it has learned is kept.
    stop: Arc<AtomicBool>,
    is_silent: bool,
    said: Duration,
    /// What the process may take, and what it took when that was more.
    memory_limit: Option<u64>,
    ran_out: Option<u64>,
    /// Multiplications and additions for each token, and in a second at most.
    work: Option<(f64, f64)>,
}

impl TrainBar {
    pub(crate) fn new() -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        // The second one ends the program at once. SIGTERM is what systems that run jobs send first.
        for (signal, status) in [(SIGINT, 130), (SIGTERM, 143)] {
            signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&stop))?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self {
            bar: ProgressBar::new(0),
            stop,
            is_silent: false,
            said: Duration::ZERO,
            memory_limit: None,
            ran_out: None,
            work: None,
        })
    }

    /// Shows how much of what the machine could do is done.
    pub(crate) fn with_work(mut self, flops_per_token: f64, peak_flops_per_s: f64) -> Self {
        self.work = Some((flops_per_token, peak_flops_per_s));
        self
    }

    /// The share of the machine's products that a rate of tokens takes, from 0 to 1.
    pub(crate) fn peak_share(&self, tokens_per_s: f64) -> Option<f64> {
        let (flops_per_token, peak) = self.work?;
        Some(tokens_per_s * flops_per_token / peak)
    }

    /// Ends the run, as Ctrl-C does, after a step that took more than `limit` bytes; 0 is no limit.
    pub(crate) fn with_memory_limit(mut self, limit: u64) -> Self {
        self.memory_limit = (limit > 0).then_some(limit);
        self
    }

    /// Says nothing: another process does.
    pub(crate) fn silent(mut self) -> Self {
        self.is_silent = true;
        self
    }

    /// What the run took when that was more than it may.
    pub(crate) fn ran_out(&self) -> Option<u64> {
        self.ran_out
    }
}

impl Drop for TrainBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for TrainBar {
    fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.ran_out.is_some()
    }

    fn on_start(&mut self, plan: &RunPlan) {
        if self.is_silent {
            return;
        }
        self.bar.set_length(plan.n_steps as u64);
        self.bar
            .set_style(style("step {pos} / {len} {wide_bar} {msg}"));
        if self.bar.is_hidden() {
            eprintln!(
                "train {} of {} parameters for {} steps",
                plan.n_trainable_params, plan.n_params, plan.n_steps
            );
        }
    }

    fn on_finding(&mut self, finding: &Finding) {
        if self.is_silent {
            return;
        }
        let text = format!(
            "warning: {}\n  {}\n  fix: {}",
            diagnose::said(finding),
            finding.failure.explanation(),
            finding.failure.fix()
        );
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn on_evaluation(&mut self, step: usize, evaluation: &Evaluation) {
        let mut text = format!("step {step}: held-out loss {:.4}", evaluation.loss);
        for (name, score) in &evaluation.scores {
            text.push_str(&format!(", {name} {score:.4}"));
        }
        for sample in &evaluation.samples {
            text.push_str(&format!(
                "\n  {}▸{}",
                sample.prompt,
                sample.text.replace('\n', " ")
            ));
        }
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn on_step(&mut self, report: &StepReport) {
        let in_use = memory::process().rss_bytes;
        if self.memory_limit.is_some_and(|limit| in_use > limit) {
            self.ran_out = Some(in_use);
        }
        if self.is_silent {
            return;
        }
        let share = match self.peak_share(report.tokens_per_s) {
            Some(share) => format!(" ({:.0} % of peak)", 100.0 * share),
            None => String::new(),
        };
        let line = format!(
            "loss {:.4}, lr {:.2e}, {:.0} tok/s{share}, {} left, {} in memory",
            report.record.loss,
            report.record.learning_rate,
            report.tokens_per_s,
            indicatif::HumanDuration(report.eta),
            bytes(in_use)
        );
        self.bar.set_position(report.record.step as u64);
        if self.bar.is_hidden()
            && (report.elapsed - self.said > PLAIN_EVERY || report.record.step == report.n_steps)
        {
            self.said = report.elapsed;
            eprintln!("step {} / {}: {line}", report.record.step, report.n_steps);
        }
        self.bar.set_message(line);
    }
}
