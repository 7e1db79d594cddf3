//! The golden file, and comparison of whole tensors.

use burn::tensor::Tensor;
use serde_json::Value;

/// `optimizers.json`.
pub(crate) fn golden() -> Value {
    serde_json::from_str(include_str!("optimizers.json")).unwrap()
}

/// A list of numbers as f32.
pub(crate) fn floats(list: &Value) -> Vec<f32> {
    let numbers = list.as_array().unwrap().iter();
    numbers
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

/// Compares every element, relative to the larger of its size and 1e-2, and names the worst.
#[track_caller]
pub(crate) fn assert_close<const D: usize>(
    found: Tensor<D>,
    expected: &[f32],
    tolerance: f64,
    what: &str,
) {
    let found = found.into_data().iter::<f64>().collect::<Vec<_>>();
    assert_eq!(found.len(), expected.len(), "{what}");
    let error = |index: usize| {
        let expected = f64::from(expected[index]);
        (found[index] - expected).abs() / expected.abs().max(1e-2)
    };
    let worst = (0..found.len())
        .max_by(|a, b| error(*a).total_cmp(&error(*b)))
        .unwrap();
    assert!(
        error(worst) <= tolerance,
        "{what}: worst at {worst}: expected {}, found {}, error {:e} > {tolerance:e}",
        expected[worst],
        found[worst],
        error(worst),
    );
}
