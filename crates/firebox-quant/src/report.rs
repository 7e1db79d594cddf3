//! What quantizing did to each weight.

use firebox_tensor::packed::PackedFormat;
use serde::{Deserialize, Serialize};

/// A whole quantized model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantReport {
    /// How weights are packed that no rule names.
    pub format: PackedFormat,
    /// Bytes of the model's files before.
    pub bytes_before: u64,
    /// Bytes of the model's files after.
    pub bytes_after: u64,
    /// The packed weights, in the order of their names.
    pub tensors: Vec<TensorReport>,
}

/// One packed weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorReport {
    /// Its name in the checkpoint.
    pub name: String,
    /// How it is packed.
    pub format: PackedFormat,
    /// `[out, in]`.
    pub shape: [usize; 2],
    /// Bytes of the packed weight.
    pub packed_bytes: u64,
    /// `‖W − Ŵ‖ / ‖W‖` (Frobenius); 0 for a weight of zeros.
    pub relative_error: f64,
    /// `‖(W − Ŵ) X‖ / ‖W X‖` over the calibration text, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_error: Option<f64>,
}

impl QuantReport {
    /// The weight that lost most: of what it computes, where that is known.
    pub fn worst(&self) -> Option<&TensorReport> {
        self.tensors
            .iter()
            .max_by(|a, b| a.lost().total_cmp(&b.lost()))
    }
}

impl TensorReport {
    /// The error of the outputs, or of the weight where that is not known.
    pub fn lost(&self) -> f64 {
        self.output_error.unwrap_or(self.relative_error)
    }
}

/// `‖a − b‖ / ‖a‖`, summed in f64.
pub(crate) fn relative_error(original: &[f32], unpacked: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let error: f64 = original
        .iter()
        .zip(unpacked)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let norm: f64 = original.iter().map(|a| square(f64::from(*a))).sum();
    if norm == 0.0 {
        0.0
    } else {
        (error / norm).sqrt()
    }
}
