//! What the figures were taken on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

/// CPU features that decide which kernels run.
const SIMD_FLAGS: &[&str] = &[
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
];

/// The machine and the versions.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) n_cpus: usize,
    pub(crate) simd: Vec<String>,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) n_threads: usize,
    pub(crate) load_after: String,
    pub(crate) firebox: String,
    pub(crate) commit: String,
    pub(crate) rustc: String,
}

impl Machine {
    /// Reads `/proc` and asks the tools for their versions; what can't be found out is "unknown".
    pub(crate) fn read(firebox: &Path, n_threads: usize) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo");
        let n_cpus = std::thread::available_parallelism()
            .context("count the CPUs")?
            .get();
        Ok(Self {
            date: first_line("date", &["-u", "+%F"]),
            cpu: cpu_field(&cpuinfo, "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            n_cpus,
            simd: simd_flags(&cpuinfo),
            memory_bytes: total_memory(&read("/proc/meminfo")),
            kernel: first_line("uname", &["-sr"]),
            n_threads,
            load_after: load(),
            firebox: first_line(&firebox.display().to_string(), &["--version"]),
            commit: commit(),
            rustc: first_line("rustc", &["--version"]),
        })
    }

    /// The CPU's name as a part of a file name.
    pub(crate) fn slug(&self) -> String {
        slug(&self.cpu)
    }
}

/// The load of the last minute; figures taken while something else ran mean little.
pub(crate) fn load() -> String {
    read("/proc/loadavg")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let line = text
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    if line.is_empty() {
        "unknown".to_owned()
    } else {
        line
    }
}

/// The commit, marked where the working tree differs from it.
fn commit() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    first_line(
        "git",
        &["-C", root, "describe", "--always", "--dirty", "--exclude=*"],
    )
}

fn cpu_field(cpuinfo: &str, name: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.split(':').next().is_some_and(|n| n.trim() == name))?;
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
}

fn simd_flags(cpuinfo: &str) -> Vec<String> {
    let flags = cpu_field(cpuinfo, "flags").or_else(|| cpu_field(cpuinfo, "Features"));
    let found: Vec<&str> = flags
        .as_deref()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    SIMD_FLAGS
        .iter()
        .filter(|flag| found.contains(flag))
        .map(|flag| (*flag).to_owned())
        .collect()
}

fn total_memory(meminfo: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn slug(text: &str) -> String {
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str =
        "processor\t: 0\nmodel name\t: AMD EPYC (Zen 4)\nflags\t\t: fpu avx2 fma sse avx512f\n";

    #[test]
    fn the_cpu_is_described_by_what_matters() {
        assert_eq!(
            cpu_field(CPUINFO, "model name").unwrap(),
            "AMD EPYC (Zen 4)"
        );
        assert_eq!(simd_flags(CPUINFO), ["avx2", "fma", "avx512f"]);
        assert_eq!(slug("AMD EPYC (Zen 4)"), "amd-epyc-zen-4");
        assert_eq!(
            total_memory("MemTotal:       24600000 kB\n"),
            25_190_400_000
        );
    }

    #[test]
    fn a_tool_that_is_not_there_is_unknown() {
        assert_eq!(first_line("/no/such/tool", &[]), "unknown");
    }
}
