//! Linear layers that read the same rows, computed together.

use firebox_tensor::host::{Columns, MatmulScratch, PanelMatrix, Start};

use crate::config::LlamaConfig;

/// Linear layers of a decoder layer that read the same rows, as they are called in a checkpoint.
pub(super) struct Projection {
    /// Names behind `model.layers.{i}.`, and numbers of outputs.
    pub(super) parts: Vec<(&'static str, usize)>,
    pub(super) d_in: usize,
    pub(super) has_bias: bool,
}

impl Projection {
    /// Queries with keys and values, what attention gives, gate with up, and down.
    pub(super) fn of_layer(config: &LlamaConfig) -> [Self; 4] {
        let (d_model, d_ff) = (config.d_model, config.d_ff);
        let q = config.n_heads * config.head_dim;
        let kv = config.n_kv_heads * config.head_dim;
        let qkv = vec![
            ("self_attn.q_proj", q),
            ("self_attn.k_proj", kv),
            ("self_attn.v_proj", kv),
        ];
        let o = vec![("self_attn.o_proj", d_model)];
        let gate_up = vec![("mlp.gate_proj", d_ff), ("mlp.up_proj", d_ff)];
        let down = vec![("mlp.down_proj", d_model)];
        let new = |parts, d_in, has_bias| Self {
            parts,
            d_in,
            has_bias,
        };
        [
            new(qkv, d_model, config.qkv_bias),
            new(o, q, config.o_bias),
            new(gate_up, d_model, config.mlp_bias),
            new(down, d_ff, config.mlp_bias),
        ]
    }
}

/// One or more weights one below the other. Where their formats differ they are multiplied one
/// after the other.
#[derive(Debug)]
pub(super) struct HostLinear {
    parts: Vec<PanelMatrix>,
    /// Of all parts; empty when there is none.
    bias: Vec<f32>,
}

impl HostLinear {
    /// The parts, first to last, and their biases.
    pub(super) fn new(parts: Vec<PanelMatrix>, bias: Vec<f32>) -> Self {
        Self { parts, bias }
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
        let mut first = 0;
        for part in &self.parts {
            let columns = Columns {
                y: &mut *y,
                stride: n_out,
                first,
            };
            part.matmul_into(x, columns, start, scratch);
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
