//! What the machine can do at most, and what a token costs of it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::watched;

/// Limits of one run, from `firebox bench machine`, each the median of all rounds.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Limits {
    /// Bytes read from memory in a second.
    pub(crate) read: f64,
    /// Multiplications and additions in a second, in the cache.
    pub(crate) f32: f64,
    pub(crate) bf16: f64,
    pub(crate) int8: f64,
}

/// What a token (or row) costs, in the unit of the limit that it meets first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cost {
    /// Bytes that are read.
    Read(f64),
    /// Multiplications and additions.
    F32(f64),
    Bf16(f64),
    Int8(f64),
}

impl Limits {
    /// Measures once.
    pub(crate) fn measure(firebox: &Path, n_threads: usize) -> Result<Self> {
        let threads = n_threads.to_string();
        let arguments = ["bench", "machine", "--json", "--threads", &threads];
        let command = std::iter::once(firebox.into()).chain(arguments.map(Into::into));
        let output = watched::run(&command.collect::<Vec<_>>()).context("measure the machine")?;
        let found: serde_json::Value =
            serde_json::from_str(&output.stdout).context("read the machine's limits")?;
        let field = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
        Ok(Self {
            read: field("read_bytes_per_s"),
            f32: field("f32_per_s"),
            bf16: field("bf16_per_s"),
            int8: field("int8_per_s"),
        })
    }

    /// The middle of each of some measurements.
    pub(crate) fn median(all: &[Self]) -> Self {
        let middle = |field: fn(&Self) -> f64| {
            let mut values: Vec<f64> = all.iter().map(field).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            read: middle(|limits| limits.read),
            f32: middle(|limits| limits.f32),
            bf16: middle(|limits| limits.bf16),
            int8: middle(|limits| limits.int8),
        }
    }

    /// The share of the limit that so many tokens in a second take.
    pub(crate) fn share(&self, cost: Cost, tokens_per_s: f64) -> f64 {
        let (cost, limit) = match cost {
            Cost::Read(bytes) => (bytes, self.read),
            Cost::F32(n) => (n, self.f32),
            Cost::Bf16(n) => (n, self.bf16),
            Cost::Int8(n) => (n, self.int8),
        };
        cost * tokens_per_s / limit
    }

    /// One line.
    pub(crate) fn text(&self) -> String {
        format!(
            "Limits: memory read {:.1} GB/s; products in the cache, f32 {:.0}, bf16 {:.0}, int8 {:.0} \
             G operations/s (`firebox bench machine`, median of the rounds).",
            self.read / 1e9,
            self.f32 / 1e9,
            self.bf16 / 1e9,
            self.int8 / 1e9,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_work_done_over_work_possible() {
        let limits = |read| Limits {
            read,
            ..Limits::default()
        };
        let limits = Limits::median(&[limits(10e9), limits(40e9), limits(20e9)]);
        assert!((limits.share(Cost::Read(100e6), 100.0) - 0.5).abs() < 1e-12);
    }
}
