//! Run with: `cargo run --release -p firebox-tensor --no-default-features --example attention_cache`
//!
//! Times one decoding step's attention (9 query heads, 3 key heads of 64, 600 tokens, 30 layers) on
//! two threads for each form of the cache; prints microseconds a layer, the median of the rounds.
//! Before each round as many bytes are read as a model of 135M weights in bf16 has, so that the
//! cache comes from memory, as it does in decoding.

#![expect(clippy::print_stdout, reason = "an example that reports")]

use std::hint::black_box;
use std::time::Instant;

use firebox_tensor::host::{AttentionShape, KvFormat, KvPage, Segment, SimdLevel, attend};

const N_TOKENS: usize = 600;
const N_LAYERS: usize = 30;
const N_ROUNDS: usize = 41;
const WEIGHT_BYTES: usize = 270_000_000;

/// Pages of one layer, full of something.
fn pages(shape: &AttentionShape) -> Vec<KvPage> {
    let n_pages = N_TOKENS.div_ceil(AttentionShape::PAGE_TOKENS);
    let mut pages: Vec<KvPage> = (0..n_pages).map(|_| KvPage::new(shape)).collect();
    for token in 0..N_TOKENS {
        let value = |i: usize| ((token * 31 + i * 17) % 101) as f32 / 50.0 - 1.0;
        let (keys, values): (Vec<f32>, Vec<f32>) =
            (0..192).map(|i| (value(i), value(i + 7))).unzip();
        let place = token % AttentionShape::PAGE_TOKENS;
        pages[token / AttentionShape::PAGE_TOKENS].write(shape, place, &keys, &values);
    }
    pages
}

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let pool = pool.expect("two threads");
    let weights = vec![1_u64; WEIGHT_BYTES / 8];
    println!("{}", SimdLevel::current());
    for format in KvFormat::ALL {
        let shape = AttentionShape::new(9, 3, 64).with_kv_format(format);
        let layers: Vec<Vec<KvPage>> = (0..N_LAYERS).map(|_| pages(&shape)).collect();
        let table: Vec<u32> = (0..layers[0].len() as u32).collect();
        let queries: Vec<f32> = (0..576).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let mut out = vec![0.0; 576];
        let mut seconds = Vec::new();
        for _ in 0..N_ROUNDS {
            black_box(weights.iter().sum::<u64>());
            let start = Instant::now();
            pool.install(|| {
                for pages in &layers {
                    let segment = Segment {
                        rows: 0..1,
                        n_past: N_TOKENS - 1,
                        pages,
                        table: &table,
                    };
                    attend(&shape, &queries, 576, &[segment], &mut out);
                }
            });
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let bytes: usize = layers.iter().flatten().map(KvPage::n_bytes).sum();
        println!(
            "{format:>4}: {:6.1} us a layer, {:5.1} MiB of cache",
            seconds[N_ROUNDS / 2] * 1e6 / N_LAYERS as f64,
            bytes as f64 / (1 << 20) as f64
        );
    }
}
