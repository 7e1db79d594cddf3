//! `firebox bench machine` and `firebox bench linear`.

use std::time::Instant;

use firebox_tensor::host::{
    Arena, MatmulScratch, PanelFormat, PanelMatrix, Roofline, SimdLevel, Start, WeightRows, in_team,
};
use firebox_tensor::packed::PackedMatrix;
use firebox_tensor::random::CounterRng;
use serde::Serialize;

use super::args::{BenchLinearArgs, Globals};
use super::output;

#[derive(Serialize)]
struct MachineBench {
    threads: usize,
    simd: &'static str,
    read_bytes_per_s: f64,
    f32_per_s: f64,
    bf16_per_s: f64,
    int8_per_s: f64,
}

pub(crate) fn machine(globals: &Globals) -> anyhow::Result<()> {
    let found = Roofline::measure();
    let bench = MachineBench {
        threads: rayon::current_num_threads(),
        simd: SimdLevel::current().name(),
        read_bytes_per_s: found.read_bytes_per_s,
        f32_per_s: found.f32_per_s,
        bf16_per_s: found.bf16_per_s,
        int8_per_s: found.int8_per_s,
    };
    output::print(globals.json, &bench, || {
        format!(
            "memory read {:.1} GB/s; products in the cache: f32 {:.0}, bf16 {:.0}, int8 {:.0} G operations/s ({} threads, {})",
            bench.read_bytes_per_s / 1e9,
            bench.f32_per_s / 1e9,
            bench.bf16_per_s / 1e9,
            bench.int8_per_s / 1e9,
            bench.threads,
            bench.simd,
        )
    })
}

#[derive(Serialize)]
struct LinearBench {
    format: String,
    n_in: usize,
    n_out: usize,
    rows: usize,
    /// How many weights take turns, and their bytes.
    weights: usize,
    weight_bytes: usize,
    /// Weights packed in a second, to the nearest.
    packed_per_s: f64,
    threads: usize,
    simd: &'static str,
    /// Median, in seconds a product.
    seconds: f64,
    rows_per_s: f64,
    /// Bytes of weights read in a second.
    read_bytes_per_s: f64,
}

/// Random weights and rows; the same weight again and again, or many that take turns.
pub(crate) fn linear(globals: &Globals, args: &BenchLinearArgs) -> anyhow::Result<()> {
    let mut rng = CounterRng::new(0, 0);
    let mut normal = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal()).collect() };
    let dense = normal(args.n_out * args.n_in);
    let (packed, pack_seconds) = pack(args, &dense)?;
    let format = match PanelFormat::of_packed(&packed) {
        Some(found) if args.bf16 => found.in_bf16(),
        found => found.unwrap_or(PanelFormat::F32),
    };
    let rows = match format {
        PanelFormat::F32 => WeightRows::Dense(&dense),
        _ => WeightRows::Packed(&packed),
    };
    let mut arena = Arena::new();
    let mut lay_out = || PanelMatrix::from_rows(format, &[rows], args.n_in, &mut arena);
    let first = lay_out();
    let weight_bytes = first.n_bytes();
    let n_weights = (args.rotate_mb * 1_000_000).div_ceil(weight_bytes).max(1);
    let weights: Vec<PanelMatrix> = std::iter::once(first)
        .chain((1..n_weights).map(|_| lay_out()))
        .collect();
    let x = normal(args.rows * args.n_in);
    let mut y = vec![0.0; args.rows * args.n_out];
    let mut scratch = MatmulScratch::default();
    let mut seconds = in_team(|| {
        let begin = Instant::now();
        let mut seconds = Vec::new();
        while seconds.len() < 2 * n_weights || begin.elapsed().as_secs() < args.seconds as u64 {
            let start = Instant::now();
            weights[seconds.len() % n_weights].matmul(&x, &mut y, Start::Zero, &mut scratch);
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.split_off(n_weights) // The first round warms up.
    });
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let bench = LinearBench {
        format: format!("{}{}", args.format, if args.bf16 { "-dot" } else { "" }),
        n_in: args.n_in,
        n_out: args.n_out,
        rows: args.rows,
        weights: n_weights,
        weight_bytes,
        packed_per_s: dense.len() as f64 / pack_seconds,
        threads: rayon::current_num_threads(),
        simd: SimdLevel::current().name(),
        seconds: median,
        rows_per_s: args.rows as f64 / median,
        read_bytes_per_s: weight_bytes as f64 / median,
    };
    output::print(globals.json, &bench, || {
        format!(
            "{} {} → {}, {} rows: {:.1} µs, {:.1} GB/s of weights; packed at {:.0} M a second ({} weights of {}, {} threads, {})",
            bench.format,
            bench.n_in,
            bench.n_out,
            bench.rows,
            bench.seconds * 1e6,
            bench.read_bytes_per_s / 1e9,
            bench.packed_per_s / 1e6,
            bench.weights,
            output::bytes(weight_bytes as u64),
            bench.threads,
            bench.simd,
        )
    })
}

/// Packs the weight, and says how long it takes: the median of five.
fn pack(args: &BenchLinearArgs, dense: &[f32]) -> anyhow::Result<(PackedMatrix, f64)> {
    let pack = || PackedMatrix::pack(args.format, dense, args.n_out, args.n_in);
    let mut seconds = [0.0; 5];
    for seconds in &mut seconds {
        let start = Instant::now();
        pack()?;
        *seconds = start.elapsed().as_secs_f64();
    }
    seconds.sort_by(f64::total_cmp);
    Ok((pack()?, seconds[2]))
}
