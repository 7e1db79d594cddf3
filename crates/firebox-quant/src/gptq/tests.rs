use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::hessian::tests::rows;
use crate::rounding::weighted_rounding;

const SHAPE: [usize; 2] = [12, 256];

fn weight() -> Vec<f32> {
    weight_of(SHAPE[0] * SHAPE[1])
}

fn weight_of(n: usize) -> Vec<f32> {
    let value = |i: usize| (i as f32 * 12.9898).sin() + (i as f32 * 78.233).sin();
    (0..n).map(|i| 0.05 * value(i)).collect()
}

fn hessian() -> Hessian {
    hessian_of(SHAPE[1])
}

fn hessian_of(n_cols: usize) -> Hessian {
    let mut hessian = Hessian::new(n_cols, &Device::flex());
    hessian.add(rows(600, n_cols));
    hessian
}

/// Squared error of the outputs for the rows that calibrated.
fn output_error(packed: &PackedMatrix) -> f32 {
    let error: Vec<f32> = weight()
        .iter()
        .zip(packed.unpack())
        .map(|(a, b)| a - b)
        .collect();
    let error = Tensor::<2>::from_data(TensorData::new(error, SHAPE), &Device::flex());
    let outputs = rows(600, SHAPE[1]).matmul(error.transpose());
    outputs.powi_scalar(2).sum().into_scalar()
}

#[test]
fn errors_that_are_made_good_cost_less() {
    let (weight, hessian) = (weight(), hessian());
    for format in PackedFormat::ALL {
        let plain = PackedMatrix::pack(format, &weight, SHAPE[0], SHAPE[1]).unwrap();
        let weighted = weighted_rounding(format, &weight, &hessian.mean_squares()).unwrap();
        let plain = output_error(&plain);
        for act_order in [false, true] {
            let config = GptqConfig {
                act_order,
                ..GptqConfig::default()
            };
            let packed = Gptq::new(&hessian, &config)
                .unwrap()
                .pack(format, &weight)
                .unwrap();
            let found = output_error(&packed);
            assert!(
                found < plain * 0.6,
                "{format} {act_order}: {found} and {plain}"
            );
            assert!(found < output_error(&weighted), "{format} {act_order}");
        }
    }
}

/// Column by column as the paper has it, the inverse updated after each: no factor.
fn plain_gptq(format: PackedFormat, weight: &[f32], hessian: &Hessian, damping: f64) -> Vec<f32> {
    let n = hessian.d_in();
    let h: Vec<f32> = hessian.sum().into_data().try_into_vec().unwrap();
    let mean = (0..n).map(|i| f64::from(h[i * n + i])).sum::<f64>() / n as f64;
    let damped = faer::Mat::from_fn(n, n, |i, j| {
        f64::from(h[i * n + j]) + if i == j { damping * mean } else { 0.0 }
    });
    let mut rows: Vec<Vec<f64>> = weight
        .chunks(n)
        .map(|row| row.iter().map(|x| f64::from(*x)).collect())
        .collect();
    let block_len = format.block_len(n).unwrap();
    let mut grids = Vec::new();
    // The inverse of what is left of H from column `first` on.
    for first in 0..n {
        use faer::linalg::solvers::DenseSolveCore;
        let rest = damped.submatrix(first, first, n - first, n - first);
        let inverse = rest.llt(faer::Side::Lower).unwrap().inverse();
        if first % block_len == 0 {
            let importance: Vec<f32> = (first..first + block_len)
                .map(|i| {
                    let rest = damped.submatrix(i, i, n - i, n - i);
                    (1.0 / rest.llt(faer::Side::Lower).unwrap().inverse()[(0, 0)]) as f32
                })
                .collect();
            let block = |row: &Vec<f64>| -> Vec<f32> {
                row[first..first + block_len]
                    .iter()
                    .map(|x| *x as f32)
                    .collect()
            };
            grids = rows
                .iter()
                .map(|row| BlockGrid::fit(format, &block(row), &importance))
                .collect();
        }
        for (row, grid) in rows.iter_mut().zip(&grids) {
            let value = f64::from(grid.nearest(first % block_len, row[first] as f32).1);
            let error = (row[first] - value) / inverse[(0, 0)];
            row[first] = value;
            for j in first + 1..n {
                row[j] -= error * inverse[(0, j - first)];
            }
        }
    }
    rows.concat().iter().map(|x| *x as f32).collect()
}

#[test]
fn it_rounds_as_the_plain_algorithm_does() {
    let config = GptqConfig::default();
    let (weight, hessian) = (weight_of(8 * 64), hessian_of(64));
    let packed = Gptq::new(&hessian, &config)
        .unwrap()
        .pack(PackedFormat::Q4_0, &weight)
        .unwrap();
    let expected = plain_gptq(PackedFormat::Q4_0, &weight, &hessian, config.damping);
    let unpacked = packed.unpack();
    // A value near the middle between two codes may fall to the other side, and then changes what
    // comes after it.
    let same = unpacked
        .iter()
        .zip(&expected)
        .filter(|(a, b)| (*a - *b).abs() < 1e-4)
        .count();
    assert!(
        same * 100 > expected.len() * 90,
        "{same} of {}",
        expected.len()
    );
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let (weight, hessian) = (weight(), hessian());
    let pack = || {
        Gptq::new(&hessian, &GptqConfig::default())
            .unwrap()
            .pack(PackedFormat::Q4K, &weight)
            .unwrap()
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(5)
        .build()
        .unwrap();
    assert_eq!(pack(), pool.install(pack));
}
