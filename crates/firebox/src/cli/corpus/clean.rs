//! `firebox data clean`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use firebox_data::{
    BrokenLimit, CleanJob, CleanProgress, CleanReport, CleanStage, Recipe, Sources, clean,
};
use indicatif::ProgressBar;
use serde::Serialize;
use signal_hook::consts::SIGINT;

use super::args::CleanArgs;
use super::{READING, broken_limit, page, sources};
use crate::cli::args::Globals;
use crate::cli::exit::UserError;
use crate::cli::output::{self, bytes};
use crate::cli::progress;

/// What is printed.
#[derive(Serialize)]
struct Cleaned<'a> {
    #[serde(flatten)]
    report: &'a CleanReport,
    report_json: &'a Path,
    report_page: &'a Path,
    n_input_bytes: Option<u64>,
    seconds: f64,
}

pub(crate) fn run(globals: &Globals, args: &CleanArgs) -> anyhow::Result<()> {
    let recipe = read_recipe(&args.recipe)?;
    let sources = sources(globals, &args.input, &recipe.input)?;
    let Some(output) = args.out.as_ref().or(recipe.output.path.as_ref()) else {
        let text =
            "write the corpus: expected --out or `path` in the recipe's `[output]`, found neither";
        return Err(UserError(text.to_owned()).into());
    };
    let broken = broken_limit(&args.input, &recipe.input);
    clean_and_report(globals, &recipe, &sources, broken, output)
}

/// Reads and checks a recipe.
pub(super) fn read_recipe(path: &Path) -> anyhow::Result<Recipe> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| UserError(format!("read the recipe `{name}`: {error}")))?;
    let wrong = |error| anyhow::Error::new(error).context(format!("the recipe `{name}`"));
    Recipe::from_toml(&text).map_err(wrong)
}

/// Cleans; writes the report beside the output, as JSON and as a page.
pub(super) fn clean_and_report(
    globals: &Globals,
    recipe: &Recipe,
    sources: &Sources,
    broken: BrokenLimit,
    out: &Path,
) -> anyhow::Result<()> {
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let job = CleanJob {
        recipe,
        sources,
        broken,
        output: out,
        n_threads: rayon::current_num_threads(),
    };
    let start = Instant::now();
    let mut bar = CleanBar::new()?;
    let report = clean(&job, |so_far| bar.show(so_far))?;
    drop(bar);
    let seconds = start.elapsed().as_secs_f64();
    let (report_json, report_page) = (beside(out, ".report.json"), beside(out, ".report.html"));
    firebox_checkpoint::write_atomic(&report_json, &serde_json::to_vec_pretty(&report)?)?;
    firebox_checkpoint::write_atomic(&report_page, page::render(&report).as_bytes())?;
    let cleaned = Cleaned {
        report: &report,
        report_json: &report_json,
        report_page: &report_page,
        n_input_bytes: sources.total_bytes(),
        seconds,
    };
    output::print(globals.json, &cleaned, || table(&cleaned))
}

fn beside(out: &Path, suffix: &str) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    out.with_file_name(name)
}

/// The report as text.
fn table(cleaned: &Cleaned<'_>) -> String {
    let report = cleaned.report;
    let mut table = output::table(&["rule", "dropped", "changed"]);
    for rule in &report.rules.rules {
        table.add_row([
            rule.kind.clone(),
            rule.n_dropped.to_string(),
            rule.n_changed.to_string(),
        ]);
    }
    if let Some(found) = &report.decontaminate {
        let (n, row) = (found.n_contaminated, "in evaluation sets".to_owned());
        table.add_row([row, n.to_string(), String::new()]);
    }
    if let Some(found) = &report.dedup {
        table.add_row([
            "equal texts".to_owned(),
            found.n_exact.to_string(),
            String::new(),
        ]);
        table.add_row([
            "similar texts".to_owned(),
            found.n_near.to_string(),
            String::new(),
        ]);
    }
    let text_bytes = report.rules.n_text_bytes;
    format!(
        "{table}\n\n{n_records} records, {n_broken} broken, {n_without_text} without text\n\
         {n_read} documents read, {n_written} written to {output}\n\
         {size} of text in {seconds:.1} s, {rate:.0} MB/s\nreport: {page}",
        table = table.trim_fmt(),
        n_records = report.n_records,
        n_broken = report.n_broken,
        n_without_text = report.n_without_text,
        n_read = report.rules.n_documents,
        n_written = report.n_written,
        output = report.output.display(),
        size = bytes(text_bytes),
        seconds = cleaned.seconds,
        rate = text_bytes as f64 / 1e6 / cleaned.seconds.max(1e-9),
        page = cleaned.report_page.display(),
    )
}

/// MB/s, kept and dropped while it runs; Ctrl-C stops after the block at hand, and what was done is kept.
struct CleanBar {
    bar: ProgressBar,
    stage: Option<CleanStage>,
    stop: Arc<AtomicBool>,
}

impl CleanBar {
    fn new() -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        // A second Ctrl-C ends the program at once.
        signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(SIGINT, Arc::clone(&stop))?;
        Ok(Self {
            bar: ProgressBar::new(0),
            stage: None,
            stop,
        })
    }

    fn show(&mut self, so_far: &CleanProgress) -> ControlFlow<()> {
        if self.stage != Some(so_far.stage) {
            self.stage = Some(so_far.stage);
            self.bar.reset();
            self.bar.set_style(progress::style(match so_far.stage {
                CleanStage::Reading => READING,
                CleanStage::Deduplicating => "find duplicates {spinner}",
                CleanStage::Writing => "write {pos} / {len} {wide_bar} {eta}",
            }));
        }
        match so_far.n_total {
            Some(n) => self.bar.set_length(n),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(so_far.n_done);
        let n_dropped = so_far.n_documents - so_far.n_kept;
        self.bar
            .set_message(format!("{} kept, {n_dropped} dropped", so_far.n_kept));
        match self.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Drop for CleanBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
