//! The kernels of an encoder against their definitions.

use std::ops::Range;

use proptest::prelude::*;

use super::super::*;
use super::{at_each_level, normal, on_threads};

/// Every token over every other of its text, by definition, in f64.
fn attention_reference(rows: EncoderRows<'_>, texts: &[Range<usize>]) -> Vec<f64> {
    let stride = rows.bias.len();
    let (width, head_dim) = (stride / 3, stride / 3 / rows.n_heads);
    let value =
        |row: usize, at: usize| f64::from(rows.qkv[row * stride + at]) + f64::from(rows.bias[at]);
    let mut out = vec![0.0; rows.qkv.len() / 3];
    for text in texts {
        for (query, head) in text
            .clone()
            .flat_map(|row| (0..rows.n_heads).map(move |h| (row, h)))
        {
            let at = head * head_dim;
            let weights: Vec<f64> = text
                .clone()
                .map(|key| {
                    let dot: f64 = (at..at + head_dim)
                        .map(|i| value(query, i) * value(key, width + i))
                        .sum();
                    (dot / (head_dim as f64).sqrt()).exp()
                })
                .collect();
            let sum: f64 = weights.iter().sum();
            for i in at..at + head_dim {
                let mixed = text.clone().zip(&weights);
                let mixed: f64 = mixed.map(|(key, w)| w * value(key, 2 * width + i)).sum();
                out[query * width + i] = mixed / sum;
            }
        }
    }
    out
}

fn ranges(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut end = 0;
    let next = |n: &usize| {
        end += n;
        end - n..end
    };
    lengths.iter().map(next).collect()
}

/// `1 + erf(x / √2)` by its series, in f64.
fn twice_phi(x: f64) -> f64 {
    let z = x / std::f64::consts::SQRT_2;
    let (mut term, mut sum) = (z, z);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -z * z / n;
        sum += term / (2.0 * n + 1.0);
    }
    1.0 + sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn gelu_is_the_exact_one_to_a_rounding() {
    // Not whole vectors of any level.
    let width = 37;
    let bias = normal(width, 1);
    let x: Vec<f32> = (0..40 * width)
        .map(|i| (i as f32 - 740.0) * 0.006)
        .collect();
    at_each_level(|level| {
        let mut y = x.clone();
        gelu(level, &mut y, &bias);
        for (i, (x, y)) in x.iter().zip(&y).enumerate() {
            let x = x + bias[i % width];
            let exact = 0.5 * f64::from(x) * twice_phi(f64::from(x));
            let error = (f64::from(*y) - exact).abs();
            // The polynomial is off by 1.5e-7, half of which counts, times x; and a rounding of x.
            let bound = 1e-7 + 2e-7 * f64::from(x.abs());
            assert!(error < bound, "{level}: gelu({x}) = {y}, not {exact}");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn attention_within_texts_is_its_definition(
        lengths in prop::collection::vec(1_usize..130, 1..4),
        (n_heads, head_dim) in (1_usize..4, prop::sample::select(vec![8_usize, 20, 32, 64])),
    ) {
        let texts = ranges(&lengths);
        let width = n_heads * head_dim;
        let (qkv, bias) = (normal(texts.last().unwrap().end * 3 * width, 1), normal(3 * width, 2));
        let rows = EncoderRows { qkv: &qkv, bias: &bias, n_heads };
        let expected = attention_reference(rows, &texts);
        at_each_level(|level| {
            let mut found = vec![7.0; expected.len()];
            attend_within(level, rows, &texts, &mut found);
            for (found, expected) in found.iter().zip(&expected) {
                // Weights are off by the rounding of scores of some tens.
                assert!((f64::from(*found) - expected).abs() < 3e-5, "{level}: {found}, not {expected}");
            }
            // A text alone, and on more threads, has the same bits.
            for text in &texts {
                let alone = EncoderRows { qkv: &qkv[text.start * 3 * width..text.end * 3 * width], ..rows };
                let mut out = vec![7.0; text.len() * width];
                on_threads(3, || attend_within(level, alone, &ranges(&[text.len()]), &mut out));
                assert_eq!(&out, &found[text.start * width..text.end * width]);
            }
        });
    }

    #[test]
    fn layer_norm_is_its_definition(n_rows in 1_usize..5, width in 1_usize..90) {
        let (x, bias) = (normal(n_rows * width, 1), normal(width, 2));
        let norm = LayerNorm { gamma: normal(width, 3), beta: normal(width, 4), eps: 1e-5 };
        at_each_level(|level| {
            let mut y = x.clone();
            norm.apply(level, &mut y, &bias);
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(width)) {
                let x: Vec<f64> = x.iter().zip(&bias).map(|(x, b)| f64::from(*x) + f64::from(*b)).collect();
                let mean = x.iter().sum::<f64>() / width as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                let deviation = (variance + 1e-5).sqrt();
                for (i, (x, y)) in x.iter().zip(y).enumerate() {
                    let exact = (x - mean) / deviation * f64::from(norm.gamma[i]) + f64::from(norm.beta[i]);
                    // Sums of up to 90 terms; a small deviation makes their rounding larger.
                    let bound = 1e-5 * (1.0 + exact.abs()) / deviation.min(1.0);
                    assert!((f64::from(*y) - exact).abs() < bound, "{level}: {y}, not {exact}");
                }
            }
        });
    }
}
