//! Each kernel against plain loops, at every level of this CPU; and rows bit-equal.

use proptest::prelude::*;

use super::bf16_products::{bf16_add_outer, bf16_matmul, bf16_matmul_transposed, bf16_outer};
use super::int8_rows::SPAN;
use super::*;
use crate::packed::{
    INT8_OUTLIERS_FROM, Int4Groups, PackedFormat, PackedMatrix, round_activations,
};
use crate::random::CounterRng;

mod attention;
mod block_bytes;
mod encoder;

pub(super) fn normal(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = CounterRng::new(seed, 0);
    (0..n).map(|_| rng.normal()).collect()
}

/// Runs `test` with every level forced.
pub(super) fn at_each_level(mut test: impl FnMut(SimdLevel)) {
    let _turn = level::test_turn();
    let best = SimdLevel::available().pop().unwrap();
    for level in SimdLevel::available() {
        level.force().unwrap();
        test(level);
    }
    best.force().unwrap();
}

pub(super) fn on_threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .build()
        .unwrap();
    pool.install(work)
}

/// `x Wᵀ` in f64, and the sum of the magnitudes of each output's terms.
pub(super) fn reference(x: &[f32], w: &[f32], n_in: usize) -> (Vec<f64>, Vec<f64>) {
    let mut y = Vec::new();
    let mut magnitudes = Vec::new();
    for x in x.chunks_exact(n_in) {
        for w in w.chunks_exact(n_in) {
            let terms = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
            y.push(terms.clone().sum());
            magnitudes.push(terms.map(f64::abs).sum());
        }
    }
    (y, magnitudes)
}

/// The packed format that panels of `format` keep; `None` for floats.
fn packed_format(format: PanelFormat) -> Option<PackedFormat> {
    match format {
        PanelFormat::F32 | PanelFormat::Bf16 | PanelFormat::Bf16Dot | PanelFormat::F16 => None,
        PanelFormat::Int8Rowwise | PanelFormat::Int8Dot => Some(PackedFormat::Int8Rowwise),
        PanelFormat::Nf4 | PanelFormat::Nf4Dot => Some(PackedFormat::Nf4DoubleQuant),
        PanelFormat::Fp4 | PanelFormat::Fp4Dot => Some(PackedFormat::Fp4DoubleQuant),
        PanelFormat::Q8_0 => Some(PackedFormat::Q8_0),
        PanelFormat::Q4_0 => Some(PackedFormat::Q4_0),
        PanelFormat::Q4_1 => Some(PackedFormat::Q4_1),
        PanelFormat::Q5_0 => Some(PackedFormat::Q5_0),
        PanelFormat::Q5_1 => Some(PackedFormat::Q5_1),
        PanelFormat::Q4K => Some(PackedFormat::Q4K),
        PanelFormat::Q5K => Some(PackedFormat::Q5K),
        PanelFormat::Q6K => Some(PackedFormat::Q6K),
        PanelFormat::Int4 => Some(PackedFormat::Int4(Int4Groups::asymmetric(64).unwrap())),
    }
}

/// A weight in some format, and its values as they are stored.
fn stored(format: PanelFormat, w: &[f32], n_out: usize, n_in: usize) -> (PanelMatrix, Vec<f32>) {
    if let Some(packed_format) = packed_format(format) {
        let packed = PackedMatrix::pack(packed_format, w, n_out, n_in).unwrap();
        let rows = [WeightRows::Packed(&packed)];
        let matrix = PanelMatrix::from_rows(format, &rows, n_in, &mut Arena::new());
        let mut values = packed.unpack();
        if matches!(format, PanelFormat::Nf4Dot | PanelFormat::Fp4Dot) {
            // The codebook is rounded, not its products with the scales.
            for (i, row) in values.chunks_exact_mut(n_in).enumerate() {
                matrix.unpack_row(i, row);
            }
        }
        return (matrix, values);
    }
    let rounded = |x: &f32| match format {
        PanelFormat::F16 => half::f16::from_f32(*x).to_f32(),
        PanelFormat::F32 => *x,
        _ => half::bf16::from_f32(*x).to_f32(),
    };
    let matrix = PanelMatrix::from_dense(format, w, n_out, n_in);
    (matrix, w.iter().map(rounded).collect())
}

const FORMATS: [PanelFormat; 19] = [
    PanelFormat::F32,
    PanelFormat::Bf16,
    PanelFormat::Bf16Dot,
    PanelFormat::F16,
    PanelFormat::Int8Rowwise,
    PanelFormat::Int8Dot,
    PanelFormat::Nf4,
    PanelFormat::Nf4Dot,
    PanelFormat::Fp4,
    PanelFormat::Fp4Dot,
    PanelFormat::Q8_0,
    PanelFormat::Q4_0,
    PanelFormat::Q4_1,
    PanelFormat::Q5_0,
    PanelFormat::Q5_1,
    PanelFormat::Q4K,
    PanelFormat::Q5K,
    PanelFormat::Q6K,
    PanelFormat::Int4,
];

/// Inputs that the format takes, near `n`.
fn inputs(format: PanelFormat, n: usize) -> usize {
    match format {
        PanelFormat::F32
        | PanelFormat::Bf16
        | PanelFormat::Bf16Dot
        | PanelFormat::F16
        | PanelFormat::Int8Rowwise
        | PanelFormat::Int8Dot => n,
        PanelFormat::Nf4
        | PanelFormat::Nf4Dot
        | PanelFormat::Fp4
        | PanelFormat::Fp4Dot
        | PanelFormat::Int4 => n.next_multiple_of(64),
        PanelFormat::Q4K | PanelFormat::Q5K | PanelFormat::Q6K => n.next_multiple_of(256),
        _ => n.next_multiple_of(32),
    }
}

/// `x` as the product of integers sees it: `round(x / d) * d`, `d = max / 127` in blocks of 32.
fn through_int8(x: &[f32]) -> Vec<f32> {
    let mut rounded = x.to_vec();
    for block in rounded.chunks_mut(32) {
        let scale = block.iter().fold(0.0_f32, |max, x| max.max(x.abs())) / 127.0;
        for x in block {
            *x = if scale > 0.0 {
                (*x / scale).round() * scale
            } else {
                0.0
            };
        }
    }
    rounded
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn products_match_the_reference(
        format in 0..FORMATS.len(), rows in 1_usize..60, n_in in 1_usize..260, n_out in 1_usize..90,
    ) {
        let format = FORMATS[format];
        let n_in = inputs(format, n_in);
        let (x, w) = (normal(rows * n_in, 1), normal(n_out * n_in, 2));
        at_each_level(|level| {
            let (matrix, w) = stored(format, &w, n_out, n_in);
            let seen = match format {
                PanelFormat::Int8Dot => {
                    let mut rounded = x.clone();
                    round_activations(&mut rounded, n_in, INT8_OUTLIERS_FROM);
                    rounded
                }
                _ if format.multiplies_integers() => through_int8(&x),
                PanelFormat::Bf16Dot | PanelFormat::Nf4Dot | PanelFormat::Fp4Dot => {
                    x.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect()
                }
                _ => x.clone(),
            };
            let (expected, magnitudes) = reference(&seen, &w, n_in);
            let mut y = vec![1.0; rows * n_out];
            matrix.matmul(&x, &mut y, Start::Accumulate, &mut MatmulScratch::default());
            // Rounding of a sum of n terms: n units of the last place of the terms' magnitudes, at
            // the very most. A tie of the activations' rounding may go the other way: half a step.
            let step = if format.multiplies_integers() { 0.01 } else { 0.0 };
            for ((y, expected), magnitude) in y.iter().zip(expected).zip(magnitudes) {
                let error = (f64::from(*y) - 1.0 - expected).abs();
                let bound = (1.0 + magnitude) * (n_in as f64 * 1.2e-7 + step);
                assert!(error < bound, "{level} {format:?}: {y} against {expected}");
            }
        });
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_batch_and_on_any_threads(
        format in 0..FORMATS.len(), rows in 2_usize..140, n_in in 1_usize..420, n_out in 1_usize..130,
    ) {
        let format = FORMATS[format];
        let n_in = inputs(format, n_in);
        let (x, w) = (normal(rows * n_in, 1), normal(n_out * n_in, 2));
        at_each_level(|level| {
            let (matrix, _) = stored(format, &w, n_out, n_in);
            let product = |x: &[f32]| {
                let mut y = vec![0.0; x.len() / n_in * n_out];
                matrix.matmul(x, &mut y, Start::Zero, &mut MatmulScratch::default());
                y
            };
            let alone: Vec<f32> = x.chunks_exact(n_in).flat_map(product).collect();
            for n_threads in 1..=3 {
                assert_eq!(on_threads(n_threads, || product(&x)), alone, "{level} {format:?}");
            }
        });
    }

    #[test]
    fn a_laid_out_weight_gives_its_rows_back(
        format in 0..FORMATS.len(), n_in in 1_usize..200, n_out in 1_usize..80,
    ) {
        let format = FORMATS[format];
        let n_in = inputs(format, n_in);
        let w = normal(n_out * n_in, 3);
        at_each_level(|level| {
            let (matrix, w) = stored(format, &w, n_out, n_in);
            let mut row = vec![0.0; n_in];
            for (i, w) in w.chunks_exact(n_in).enumerate() {
                matrix.unpack_row(i, &mut row);
                for (x, w) in row.iter().zip(w) {
                    // INT8 divides the scale first.
                    assert!((x - w).abs() <= w.abs() * 2e-7, "{level} {format:?}: {x} and {w}");
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn norm_gate_and_rotation_match_their_formulas(rows in 1_usize..70, width in 1_usize..330, pairs in 1_usize..40) {
        let (x, gamma) = (normal(rows * width, 1), normal(width, 2));
        let gate_up = normal(rows * 2 * width, 3);
        let frequencies: Vec<f64> = (0..pairs).map(|i| 1.0 / (i + 1) as f64).collect();
        let heads = normal(rows * (4 * pairs + 3), 4);
        let positions: Vec<usize> = (0..rows).map(|row| row * 7 % 50).collect();
        at_each_level(|level| {
            let mut y = vec![0.0; x.len()];
            rms_norm(level, &x, &gamma, 1e-5, &mut y);
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(width)) {
                let square: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
                let rms = (square / width as f64 + 1e-5).sqrt();
                for ((x, y), gamma) in x.iter().zip(y).zip(&gamma) {
                    let expected = f64::from(*x) / rms * f64::from(*gamma);
                    assert!((f64::from(*y) - expected).abs() <= expected.abs() * 2e-6 + 1e-9, "{level}");
                }
            }
            swiglu(level, &gate_up, width, &mut y);
            for (row, y) in gate_up.chunks_exact(2 * width).zip(y.chunks_exact(width)) {
                for (i, y) in y.iter().enumerate() {
                    let (gate, up) = (f64::from(row[i]), f64::from(row[width + i]));
                    let expected = gate / (1.0 + (-gate).exp()) * up;
                    assert!((f64::from(*y) - expected).abs() <= expected.abs() * 1e-6 + 1e-9, "{level}");
                }
            }
            let mut table = RotaryTable::new(&frequencies);
            table.reach(50);
            let (mut turned, stride) = (heads.clone(), 4 * pairs + 3);
            rotate(level, &mut turned, stride, 2, &table, &positions);
            for (row, position) in positions.iter().enumerate() {
                let (old, new) = (&heads[row * stride..], &turned[row * stride..]);
                for head in 0..2 {
                    for (i, frequency) in frequencies.iter().enumerate() {
                        let at = head * 2 * pairs + i;
                        let angle = f64::from(*position as f32 * *frequency as f32);
                        let (a, b) = (f64::from(old[at]), f64::from(old[at + pairs]));
                        let expected = [a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()];
                        // Terms of about one, each rounded a few times.
                        assert!((f64::from(new[at]) - expected[0]).abs() < 1e-5, "{level}");
                        assert!((f64::from(new[at + pairs]) - expected[1]).abs() < 1e-5, "{level}");
                    }
                }
                assert_eq!(old[4 * pairs..stride], new[4 * pairs..stride], "the rest stays");
            }
        });
    }
}

proptest! {
    #[test]
    fn nll_matches_its_formula(rows in 1_usize..5, vocab in 1_usize..3000) {
        let logits: Vec<f32> = normal(rows * vocab, 1).iter().map(|x| x * 5.0).collect();
        let targets: Vec<usize> = (0..rows).map(|row| row * 31 % vocab).collect();
        at_each_level(|level| {
            let (nll, _) = softmax_nll(level, &mut logits.clone(), &targets);
            for ((nll, logits), target) in nll.iter().zip(logits.chunks_exact(vocab)).zip(&targets) {
                let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
                let expected = sum.ln() - f64::from(logits[*target]);
                // Logarithms of about ten, rounded to f32.
                assert!((f64::from(*nll) - expected).abs() < 3e-6 * expected.abs().max(1.0), "{level}");
            }
        });
    }

    #[test]
    fn bf16_products_match_the_reference(
        rows in 1_usize..70, depth in 1_usize..900, n in 1_usize..90,
    ) {
        let round = |x: &[f32]| -> Vec<f32> {
            x.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect()
        };
        let turn = |x: &[f32], width: usize| -> Vec<f32> {
            (0..x.len()).map(|i| x[i % (x.len() / width) * width + i / (x.len() / width)]).collect()
        };
        let (x, w) = (normal(rows * depth, 1), normal(n * depth, 2));
        let (expected, magnitudes) = reference(&round(&x), &round(&w), depth);
        at_each_level(|level| {
            let sizes = [rows, n, depth];
            let (x_turned, w_turned) = (turn(&x, depth), turn(&w, depth));
            let products = || {
                let mut added = vec![1.0; rows * n];
                bf16_add_outer(level, &x_turned, &w_turned, sizes, &mut added);
                [
                    bf16_matmul_transposed(level, &x, &w, sizes),
                    bf16_matmul(level, &x, &w_turned, sizes),
                    bf16_outer(level, &x_turned, &w_turned, sizes),
                    added.iter().map(|y| y - 1.0).collect(),
                ]
            };
            let alone = on_threads(1, products);
            for i in 0..rows * n {
                // Rounding of a sum of `depth` terms, as for the other products.
                let bound = (1.0 + magnitudes[i]) * depth as f64 * 1.2e-7;
                for found in &alone {
                    let error = (f64::from(found[i]) - expected[i]).abs();
                    assert!(error < bound, "{level}: {} against {}", found[i], expected[i]);
                }
            }
            assert_eq!(on_threads(2, products), alone, "{level}");
            // What is in bf16 already is not rounded again.
            let bf16: Vec<_> = w.iter().map(|w| half::bf16::from_f32(*w)).collect();
            assert_eq!(bf16_matmul_transposed(level, &x, &bf16, sizes), alone[0], "{level}");
        });
    }

    #[test]
    fn a_codebook_in_bf16_is_itself_to_its_rounding(blocks in 1_usize..5, n_out in 1_usize..70) {
        let n_in = 64 * blocks;
        for (form, format) in [(PanelFormat::Nf4Dot, PackedFormat::Nf4), (PanelFormat::Fp4Dot, PackedFormat::Fp4)] {
            let packed = PackedMatrix::pack(format, &normal(n_out * n_in, 3), n_out, n_in).unwrap();
            let exact = packed.unpack();
            at_each_level(|level| {
                let rows = [WeightRows::Packed(&packed)];
                let matrix = PanelMatrix::from_rows(form, &rows, n_in, &mut Arena::new());
                let mut row = vec![0.0; n_in];
                for (i, exact) in exact.chunks_exact(n_in).enumerate() {
                    matrix.unpack_row(i, &mut row);
                    for (x, exact) in row.iter().zip(exact) {
                        // Half a unit in the last place of a bf16.
                        assert!((x - exact).abs() <= exact.abs() / 256.0, "{level} {format}: {x} and {exact}");
                    }
                }
            });
        }
    }

    #[test]
    fn parts_of_a_weight_compute_what_they_compute_apart(
        format in 0..FORMATS.len(), first in 1_usize..70, second in 1_usize..70, n_in in 1_usize..80,
    ) {
        let format = FORMATS[format];
        let n_in = inputs(format, n_in);
        let (a, b, x) = (normal(first * n_in, 1), normal(second * n_in, 2), normal(3 * n_in, 3));
        at_each_level(|level| {
            let product = |matrix: &PanelMatrix, y: &mut [f32], stride, first| {
                let y = Columns { y, stride, first };
                matrix.matmul_into(&x, y, Start::Zero, &mut MatmulScratch::default());
            };
            let n_out = first + second;
            let mut apart = vec![0.0; 3 * n_out];
            product(&stored(format, &a, first, n_in).0, &mut apart, n_out, 0);
            product(&stored(format, &b, second, n_in).0, &mut apart, n_out, first);
            let packed = packed_format(format).map(|format| {
                let pack = |w, n| PackedMatrix::pack(format, w, n, n_in).unwrap();
                [pack(&a, first), pack(&b, second)]
            });
            let parts = match &packed {
                Some(parts) => parts.each_ref().map(WeightRows::Packed),
                None => [WeightRows::Dense(&a), WeightRows::Dense(&b)],
            };
            let both = PanelMatrix::from_rows(format, &parts, n_in, &mut Arena::new());
            let mut together = vec![0.0; 3 * n_out];
            product(&both, &mut together, n_out, 0);
            assert_eq!(together, apart, "{level} {format:?}");
        });
    }
}

#[test]
fn outliers_are_multiplied_as_they_are() {
    let (rows, n_in, n_out) = (9, SPAN + 37, 35);
    let (mut x, w) = (normal(rows * n_in, 1), normal(n_out * n_in, 2));
    for (i, x) in x.iter_mut().enumerate() {
        *x *= match (i / n_in, i % 1009) {
            (2 | 7, 0) => 40.0, // Rows that have some, beside rows without.
            (4, _) => 0.0,
            _ => 1.0,
        };
    }
    let mut seen = x.clone();
    round_activations(&mut seen, n_in, INT8_OUTLIERS_FROM);
    at_each_level(|level| {
        let (matrix, w) = stored(PanelFormat::Int8Dot, &w, n_out, n_in);
        let (expected, magnitudes) = reference(&seen, &w, n_in);
        let mut y = vec![0.0; rows * n_out];
        matrix.matmul(&x, &mut y, Start::Zero, &mut MatmulScratch::default());
        for ((y, expected), magnitude) in y.iter().zip(expected).zip(magnitudes) {
            let error = (f64::from(*y) - expected).abs();
            assert!(error <= magnitude * 1e-6, "{level}: {y} against {expected}");
        }
        // What is no number stays none, in its row alone.
        let mut x = x.clone();
        x[n_in + 5] = f32::NAN;
        let mut with_nan = vec![0.0; rows * n_out];
        matrix.matmul(
            &x,
            &mut with_nan,
            Start::Zero,
            &mut MatmulScratch::default(),
        );
        for (i, (a, b)) in with_nan.iter().zip(&y).enumerate() {
            match i / n_out {
                1 => assert!(a.is_nan(), "{level}"),
                _ => assert_eq!(a, b, "{level}"),
            }
        }
    });
}
