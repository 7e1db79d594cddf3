//! `firebox doctor`.

use std::time::Duration;

use firebox_tensor::{DeviceChoice, DeviceStatus, cpu, memory};
use serde::Serialize;
use serde_json::json;

use super::args::{DoctorArgs, Globals};
use super::output;

#[derive(Serialize)]
struct Diagnosis {
    version: &'static str,
    cpu_cores: usize,
    simd: &'static str,
    total_bytes: u64,
    available_bytes: u64,
    devices: Vec<DeviceStatus>,
    /// Parameters of the largest model that fits in the available memory.
    fits: Vec<Fit>,
}

/// How large a model one way of using it allows.
#[derive(Serialize)]
struct Fit {
    work: &'static str,
    bytes_per_param: f64,
    max_params: u64,
}

/// Bytes a parameter takes, without activations and cache: f32 weights, for training also an f32
/// gradient and AdamW's two f32 moments; NF4 packs 4.5 bits and its scales.
const WORK: [(&str, f64); 4] = [
    ("run in f32", 4.0),
    ("run in INT8", 1.0),
    ("run in NF4", 0.5625),
    ("train every weight", 16.0),
];
/// What is left to activations, the cache and everything else.
const SHARE: f64 = 0.8;

pub(crate) fn run(globals: &Globals, args: &DoctorArgs) -> anyhow::Result<()> {
    if args.watch {
        return watch(globals, args.samples.unwrap_or(usize::MAX));
    }
    let system = memory::system();
    let diagnosis = Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        cpu_cores: std::thread::available_parallelism().map_or(1, Into::into),
        simd: cpu::simd_level(),
        total_bytes: system.total_bytes,
        available_bytes: system.available_bytes,
        devices: DeviceChoice::available(),
        fits: WORK
            .iter()
            .map(|&(work, bytes)| fit(work, bytes, system.available_bytes))
            .collect(),
    };
    output::print(globals.json, &diagnosis, || text(&diagnosis))
}

/// Memory once a second, one line (or JSON object) each.
fn watch(globals: &Globals, n_samples: usize) -> anyhow::Result<()> {
    for sample in 0..n_samples {
        if sample > 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        let system = memory::system();
        let used = system.total_bytes.saturating_sub(system.available_bytes);
        let sample = json!({ "used_bytes": used, "total_bytes": system.total_bytes });
        output::print(globals.json, &sample, || {
            let share = 100.0 * used as f64 / system.total_bytes.max(1) as f64;
            let (used, total) = (output::bytes(used), output::bytes(system.total_bytes));
            format!("{used} of {total} used, {share:.0} %")
        })?;
    }
    Ok(())
}

fn fit(work: &'static str, bytes_per_param: f64, available_bytes: u64) -> Fit {
    let max_params = available_bytes as f64 * SHARE / bytes_per_param;
    Fit {
        work,
        bytes_per_param,
        max_params: max_params as u64,
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut lines = vec![
        format!("firebox {}", diagnosis.version),
        format!("cpu      {} cores, {}", diagnosis.cpu_cores, diagnosis.simd),
        format!(
            "memory   {} of {} available",
            output::bytes(diagnosis.available_bytes),
            output::bytes(diagnosis.total_bytes)
        ),
        "devices".to_owned(),
    ];
    for device in &diagnosis.devices {
        let mark = if device.usable { "yes" } else { "no" };
        lines.push(format!(
            "  {:<8} {mark:<4} {}",
            device.choice.to_string(),
            device.reason
        ));
    }
    lines.push("fits".to_owned());
    for fit in &diagnosis.fits {
        lines.push(format!(
            "  {:<20} up to {:.1} billion parameters",
            fit.work,
            fit.max_params as f64 / 1e9
        ));
    }
    lines.join("\n")
}
