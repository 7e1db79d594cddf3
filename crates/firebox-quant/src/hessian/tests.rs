use super::*;
use burn::tensor::TensorData;

/// Rows whose columns vary together.
pub(crate) fn rows(n: usize, d: usize) -> Tensor<2> {
    let value = |r: usize, c: usize| {
        let shared = (r as f32 * 0.7).sin();
        shared * (1.0 + c as f32 / d as f32) + ((r * d + c) as f32 * 12.9898).sin()
    };
    let values: Vec<f32> = (0..n * d).map(|i| value(i / d, i % d)).collect();
    Tensor::from_data(TensorData::new(values, [n, d]), &Device::flex())
}

fn hessian(n: usize, d: usize) -> Hessian {
    let mut hessian = Hessian::new(d, &Device::flex());
    hessian.add(rows(n, d));
    hessian
}

#[test]
fn the_factor_is_that_of_the_inverse_in_any_order() {
    let hessian = hessian(200, 24);
    let h = hessian.values();
    let forward: Vec<usize> = (0..24).collect();
    let mixed: Vec<usize> = (0..24).map(|i| i * 7 % 24).collect();
    for order in [forward, mixed] {
        let damping = 0.05;
        let u = hessian.inverse_factor(&order, damping).unwrap();
        let mean = (0..24).map(|i| h[i * 25]).sum::<f32>() / 24.0;
        // (Uᵀ U) H = I
        for i in 0..24 {
            for j in 0..24 {
                let inverse = |k: usize| {
                    (0..24)
                        .map(|l| u.values[l * 24 + i] * u.values[l * 24 + k])
                        .sum::<f32>()
                };
                let damped = |k: usize| {
                    let value = h[order[k] * 24 + order[j]];
                    if k == j {
                        value + damping as f32 * mean
                    } else {
                        value
                    }
                };
                let product: f32 = (0..24).map(|k| inverse(k) * damped(k)).sum();
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-3, "{i} {j}: {product}");
                assert!(j >= i || u.values[i * 24 + j] == 0.0);
            }
        }
    }
}

#[test]
fn rows_in_parts_add_up() {
    let mut parts = Hessian::new(8, &Device::flex());
    parts.add(rows(40, 8).narrow(0, 0, 13));
    parts.add(rows(40, 8).narrow(0, 13, 27));
    let whole = hessian(40, 8);
    assert_eq!(parts.n_rows(), 40);
    for (a, b) in parts.values().iter().zip(whole.values()) {
        assert!((a - b).abs() < 1e-4);
    }
    let squares = whole.mean_squares();
    assert!((squares[3] - whole.values()[3 * 8 + 3] / 40.0).abs() < 1e-6);
}

#[test]
fn columns_that_were_never_used_and_fewer_rows_than_columns_are_factored() {
    let order: Vec<usize> = (0..16).collect();
    let mut few = Hessian::new(16, &Device::flex());
    assert!(few.inverse_factor(&order, 0.01).is_some(), "no rows");
    let used = Tensor::<2>::ones([3, 1], &Device::flex());
    let unused = Tensor::zeros([3, 15], &Device::flex());
    few.add(Tensor::cat(vec![used, unused], 1));
    assert!(few.inverse_factor(&order, 0.01).is_some(), "one direction");
    few.add(rows(2, 16).mul_scalar(f32::INFINITY));
    assert!(few.inverse_factor(&order, 0.01).is_none(), "not finite");
}
