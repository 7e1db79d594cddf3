//! The result of one run, for machines and for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::contender::{Metric, Workload};
use crate::limits::Limits;
use crate::machine::Machine;
use crate::summary::{Samples, Summary};
use crate::targets;

/// Version of the JSON form.
const FORMAT_VERSION: u32 = 2;

/// Everything that one run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    version: u32,
    machine: Machine,
    workload: Workload,
    #[serde(flatten)]
    rounds: Rounds,
    limits: Limits,
    /// Tokens per second, by metric.
    results: BTreeMap<Metric, Vec<Summary>>,
}

/// What ran, and how often.
#[derive(Debug, Serialize)]
pub(crate) struct Rounds {
    /// Options that chose the contenders.
    pub(crate) selection: String,
    pub(crate) n_rounds: usize,
}

impl Report {
    pub(crate) fn new(
        machine: Machine,
        workload: Workload,
        rounds: Rounds,
        limits: Limits,
        samples: Samples,
    ) -> Self {
        let results = samples.summaries();
        Self {
            version: FORMAT_VERSION,
            machine,
            workload,
            rounds,
            limits,
            results,
        }
    }

    /// Writes `<date>-<cpu>.json` and `.md`; a smoke run is called so.
    pub(crate) fn write(&self, folder: &Path, is_smoke: bool) -> Result<(PathBuf, PathBuf)> {
        let name = format!(
            "{}{}-{}",
            if is_smoke { "smoke-" } else { "" },
            self.machine.date,
            self.machine.slug()
        );
        fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
        let json = folder.join(format!("{name}.json"));
        let markdown = folder.join(format!("{name}.md"));
        let text = serde_json::to_string_pretty(self).context("encode the report")? + "\n";
        fs::write(&json, text).with_context(|| format!("write `{}`", json.display()))?;
        fs::write(&markdown, self.markdown())
            .with_context(|| format!("write `{}`", markdown.display()))?;
        Ok((json, markdown))
    }

    /// The page.
    pub(crate) fn markdown(&self) -> String {
        let mut page = self.heading();
        page += &targets::table(&self.results, &self.limits);
        page += &targets::memory_table(&self.results);
        for (metric, rows) in &self.results {
            // Writing to a string can't fail.
            let _ = write!(page, "\n## {metric}\n\n{}", table(rows));
        }
        page
    }

    fn heading(&self) -> String {
        let Machine {
            date,
            cpu,
            n_cpus,
            kernel,
            firebox,
            commit,
            rustc,
            ..
        } = &self.machine;
        let Workload {
            n_prompt_tokens,
            n_new_tokens,
            batch_size,
            n_seq_tokens,
            n_steps,
        } = self.workload;
        format!(
            "# SmolLM2-135M on {cpu}, {date}\n\n\
             `cargo run --release -p firebox-benches -- --work WORK --rounds {rounds} --threads {threads}{selection}`\n\n\
             {n_cpus} CPUs ({simd}), {memory:.1} GiB, {kernel}; {threads} threads; load at the end {load}.\n\
             {firebox} at {commit}, {rustc}; the peers as pinned in `benches/peers`.\n\n\
             Prefill of {n_prompt_tokens} tokens, decode of {n_new_tokens} after them, training of \
             {batch_size} × {n_seq_tokens} tokens a step (median of {n_steps} steps a run).\n\
             Tokens per second; median, least and most of {rounds} runs, the contenders by turns; spread is \
             (most − least) / median. The last column of each table is firebox f32 over the contender.\n\n\
             {limits}\n",
            limits = self.limits.text(),
            rounds = self.rounds.n_rounds,
            selection = self.rounds.selection,
            threads = self.machine.n_threads,
            simd = self.machine.simd.join(" "),
            memory = gib(self.machine.memory_bytes),
            load = self.machine.load_after,
        )
    }
}

fn table(rows: &[Summary]) -> String {
    let mut text = String::from(
        "| contender | median | least | most | spread | peak memory, MiB | firebox f32 / it |\n\
         |---|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let ratio = row
            .firebox_ratio
            .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.1} | {:.0} % | {:.0} | {ratio} |",
            row.contender,
            row.median,
            row.min,
            row.max,
            row.spread * 100.0,
            gib(row.peak_rss_bytes) * 1024.0,
        );
    }
    text
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Sample;

    fn report() -> Report {
        let mut samples = Samples::default();
        for tokens_per_s in [50.0, 52.0, 51.0] {
            for (name, tokens_per_s, peak) in [
                ("firebox f32", tokens_per_s, 600 << 20),
                ("llama.cpp F32", 48.0, 700 << 20),
            ] {
                let sample = Sample {
                    tokens_per_s,
                    peak_rss_bytes: peak,
                    start_rss_bytes: Some(peak / 10),
                };
                samples.add(Metric::Decode, name, sample);
                samples.add(
                    Metric::TrainFull,
                    &name.replace("llama.cpp F", "torch fp"),
                    sample,
                );
            }
        }
        let machine = Machine {
            date: "2026-01-02".to_owned(),
            cpu: "AMD EPYC".to_owned(),
            n_cpus: 2,
            simd: vec!["avx2".to_owned()],
            memory_bytes: 24 << 30,
            kernel: "Linux 6.1".to_owned(),
            n_threads: 2,
            load_after: "2.00".to_owned(),
            firebox: "firebox 0.1.0".to_owned(),
            commit: "abc1234".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
        };
        let limits = Limits {
            read: 32e9,
            f32: 200e9,
            bf16: 400e9,
            int8: 600e9,
        };
        let rounds = Rounds {
            selection: " --skip \"torch fp16\"".to_owned(),
            n_rounds: 3,
        };
        Report::new(machine, Workload::standard(), rounds, limits, samples)
    }

    #[test]
    fn the_page_says_how_it_was_made() {
        insta::assert_snapshot!(report().markdown());
    }

    #[test]
    fn the_files_are_named_by_day_and_machine() {
        let folder = std::env::temp_dir().join(format!("firebox-benches-{}", std::process::id()));
        let (json, markdown) = report().write(&folder, false).unwrap();
        let text = fs::read_to_string(&json).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(
            json.ends_with("2026-01-02-amd-epyc.json")
                && markdown.ends_with("2026-01-02-amd-epyc.md")
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["results"]["decode"][0]["median"], 51.0);
    }
}
