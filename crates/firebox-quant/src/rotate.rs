//! The same model in other coordinates: the residual stream rotated, so that no coordinate is special.

use std::path::Path;

use faer::{Accum, Mat, MatRef, Par, linalg::matmul::matmul};
use firebox_checkpoint::{Checkpoint, CheckpointError, Dtype, HfWriter};
use firebox_model::LlamaConfig;
use firebox_tensor::random::CounterRng;
use serde_json::json;

use crate::config::{EMBEDDING, HEAD};
use crate::error::QuantError;

const FINAL_NORM: &str = "model.norm.weight";

/// How a tensor turns with the residual stream.
enum Turn {
    /// Reads the stream behind this norm: `W diag(γ) Q`.
    Reads(String),
    /// Writes to the stream: `Qᵀ W`, or `Qᵀ b` for a bias.
    Writes,
    /// Rows of the stream: `W Q`.
    Rows,
    /// Ones: what it scaled by is in the weights behind it.
    Ones,
    Stays,
}

/// Writes a model that computes the same in other coordinates, in f32: the gains of the norms go into
/// the weights behind them, the head gets a weight of its own, and the residual stream is rotated by an
/// orthogonal matrix drawn from `seed`.
///
/// A norm without gains does not see a rotation. Weights that were rounded once, on the way through a
/// file of 4 bits say, are ordinary numbers afterwards, and rounding them again has a price again.
/// `on_tensor` is called after each tensor with how many of how many are done.
///
/// Source: Ashkboos et al. (2024), sections 2.2 and 4, <https://arxiv.org/abs/2404.00456>.
///
/// # Errors
/// [`QuantError::Model`] for a model that is no Llama; files that cannot be read or written. `out`
/// then is as it was.
pub fn rotate_checkpoint(
    checkpoint: &Checkpoint,
    seed: u64,
    out: &Path,
    mut on_tensor: impl FnMut(usize, usize),
) -> Result<(), QuantError> {
    let sizes = LlamaConfig::from_hf(checkpoint.config())?;
    let rotation = rotation(sizes.d_model, seed);
    let mut names = checkpoint.names();
    if !names.iter().any(|name| name == HEAD) {
        names.push(HEAD.to_owned());
    }
    let mut config = checkpoint.config().clone();
    if let Some(config) = config.as_object_mut() {
        config.insert("tie_word_embeddings".to_owned(), json!(false));
    }
    Dtype::F32.set_in(&mut config);
    let mut writer = HfWriter::create(out)?;
    writer.set_config(config);
    writer.copy_side_files(checkpoint)?;
    let source = |name: &String| match checkpoint.shape(name) {
        None if name == HEAD => EMBEDDING.to_owned(),
        _ => name.clone(),
    };
    for name in &names {
        let shape = checkpoint.shape(&source(name)).unwrap_or_default();
        writer.declare(name, Dtype::F32, &shape)?;
    }
    for (done, name) in names.iter().enumerate() {
        let host = checkpoint.tensor(&source(name))?;
        let turned = turn(checkpoint, turn_of(name), &host.data, rotation.as_ref())?;
        writer.write_tensor(name, &turned)?;
        on_tensor(done + 1, names.len());
    }
    Ok(writer.finish()?)
}

fn turn_of(name: &str) -> Turn {
    let norm_before = |norm: &str| {
        let prefix = name.split(".self_attn.").next().unwrap_or(name);
        let prefix = prefix.split(".mlp.").next().unwrap_or(prefix);
        Turn::Reads(format!("{prefix}.{norm}.weight"))
    };
    let (layer, part) = name.rsplit_once('.').unwrap_or((name, ""));
    match layer.rsplit('.').next().unwrap_or(layer) {
        "embed_tokens" => Turn::Rows,
        "lm_head" => Turn::Reads(FINAL_NORM.to_owned()),
        "norm" | "input_layernorm" | "post_attention_layernorm" => Turn::Ones,
        "q_proj" | "k_proj" | "v_proj" if part == "weight" => norm_before("input_layernorm"),
        "gate_proj" | "up_proj" if part == "weight" => norm_before("post_attention_layernorm"),
        "o_proj" | "down_proj" => Turn::Writes,
        _ => Turn::Stays,
    }
}

fn turn(
    checkpoint: &Checkpoint,
    turn: Turn,
    values: &[f32],
    q: MatRef<'_, f64>,
) -> Result<Vec<f32>, CheckpointError> {
    let d_model = q.nrows();
    let gains = match &turn {
        Turn::Reads(norm) => checkpoint.tensor_of_shape(norm, &[d_model])?.data,
        _ => vec![1.0; d_model],
    };
    Ok(match turn {
        Turn::Stays => values.to_vec(),
        Turn::Ones => vec![1.0; values.len()],
        Turn::Reads(_) | Turn::Rows => {
            let at = |i: usize, j: usize| f64::from(values[i * d_model + j]) * f64::from(gains[j]);
            row_major(product(
                Mat::from_fn(values.len() / d_model, d_model, at).as_ref(),
                q,
            ))
        }
        Turn::Writes => {
            let n_cols = values.len() / d_model;
            let at = |i: usize, j: usize| f64::from(values[i * n_cols + j]);
            row_major(product(
                q.transpose(),
                Mat::from_fn(d_model, n_cols, at).as_ref(),
            ))
        }
    })
}

fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut y = Mat::zeros(a.nrows(), b.ncols());
    matmul(y.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    y
}

fn row_major(matrix: Mat<f64>) -> Vec<f32> {
    let (n_rows, n_cols) = matrix.shape();
    (0..n_rows * n_cols)
        .map(|i| matrix[(i / n_cols, i % n_cols)] as f32)
        .collect()
}

/// An orthogonal matrix, evenly distributed: `Q` of the decomposition of a matrix of normal numbers.
///
/// Source: Mezzadri (2007), section 5, <https://arxiv.org/abs/math-ph/0609050>.
fn rotation(n: usize, seed: u64) -> Mat<f64> {
    let mut rng = CounterRng::new(seed, 0);
    let normal: Vec<f64> = (0..n * n).map(|_| f64::from(rng.normal())).collect();
    let qr = Mat::from_fn(n, n, |i, j| normal[i * n + j]).qr();
    let (mut q, r) = (qr.compute_Q(), qr.R());
    for j in 0..n {
        if r[(j, j)] < 0.0 {
            for i in 0..n {
                q[(i, j)] = -q[(i, j)];
            }
        }
    }
    q
}

#[cfg(test)]
mod tests;
