//! Linear layers that read the same rows, computed together.

use std::borrow::Cow;

use firebox_tensor::host::{Columns, MatmulScratch, PanelMatrix, Start};
use firebox_tensor::packed::{INT8_OUTLIERS_FROM, round_activations};

/// One or more weights one below the other. Where their formats differ they are multiplied one
/// after the other.
#[derive(Debug)]
pub(super) struct HostLinear {
    parts: Vec<PanelMatrix>,
    /// Of all parts; empty when there is none.
    bias: Vec<f32>,
    /// Whether inputs are rounded to 8 bits, outliers left out.
    rounds_inputs: bool,
}

impl HostLinear {
    /// The parts, first to last, and their biases; times inputs that are rounded to 8 bits, or not.
    pub(super) fn new(parts: Vec<PanelMatrix>, bias: Vec<f32>, rounds_inputs: bool) -> Self {
        Self {
            parts,
            bias,
            rounds_inputs,
        }
    }

    pub(super) fn n_out(&self) -> usize {
        self.parts.iter().map(|part| part.shape()[0]).sum()
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.parts.iter().map(PanelMatrix::n_bytes).sum::<usize>() + self.bias.len() * 4
    }

    /// `[rows, in]` to `[rows, out]`, written over `y` or added to it.
    pub(super) fn apply(
        &self,
        x: &[f32],
        y: &mut [f32],
        start: Start,
        scratch: &mut MatmulScratch,
    ) {
        let n_out = self.n_out();
        let mut x = Cow::Borrowed(x);
        if let (true, Some(part)) = (self.rounds_inputs, self.parts.first()) {
            round_activations(x.to_mut(), part.shape()[1], INT8_OUTLIERS_FROM);
        }
        let mut first = 0;
        for part in &self.parts {
            let columns = Columns {
                y: &mut *y,
                stride: n_out,
                first,
            };
            part.matmul_into(&x, columns, start, scratch);
            first += part.shape()[0];
        }
        if !self.bias.is_empty() {
            for row in y.chunks_exact_mut(n_out) {
                for (y, bias) in row.iter_mut().zip(&self.bias) {
                    *y += bias;
                }
            }
        }
    }
}
