//! How far each weight alone, rounded, leads the model's predictions astray.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData, activation::log_softmax};
use firebox_checkpoint::Checkpoint;
use firebox_model::{DecoderHead, LayerwiseLlama, Linear};
use firebox_tensor::packed::{PackedFormat, PackedMatrix};

use crate::error::QuantError;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// A model with one weight rounded, as far as it is computed.
struct Variant {
    name: String,
    states: Vec<Tensor<3>>,
    /// Where the head is another too.
    head: Option<DecoderHead>,
}

/// Mean KL divergence, in nats a token, of the model with each of the weights rounded to the nearest, one
/// at a time.
pub(super) fn divergences(
    checkpoint: &Checkpoint,
    model: &LayerwiseLlama<'_>,
    probes: &[(String, PackedFormat)],
    texts: &[Vec<u32>],
    mut on_layer: impl FnMut(usize, usize),
) -> Result<BTreeMap<String, f64>, QuantError> {
    let format_of = |name: &str| {
        probes
            .iter()
            .find(|probe| probe.0 == name)
            .map(|probe| probe.1)
    };
    let mut states = model.embed(texts)?;
    let mut variants = Vec::new();
    if let Some(format) = format_of(EMBEDDING) {
        let rounded = rounded(checkpoint, EMBEDDING, format, &states)?;
        let head = match model.config().tie_embeddings {
            true => Some(with_weight(model.head()?, rounded.clone())),
            false => None,
        };
        variants.push(Variant {
            name: EMBEDDING.to_owned(),
            states: embedded(&rounded, texts),
            head,
        });
    }
    let n_layers = model.config().n_layers;
    for i in 0..n_layers {
        let layer = model.layer(i)?;
        for variant in &mut variants {
            for x in &mut variant.states {
                *x = model.run(&layer, x);
            }
        }
        for (k, (name, _)) in layer.linears(i).into_iter().enumerate() {
            let name = format!("{name}.weight");
            if let Some(format) = format_of(&name) {
                let weight = rounded(checkpoint, &name, format, &states)?;
                let mut changed = layer.clone();
                let (_, linear) = &mut changed.linears_mut(i)[k];
                let bias = linear.bias.as_ref().map(burn::module::Param::val);
                **linear = Linear::dense(weight, bias);
                let states = states.iter().map(|x| model.run(&changed, x)).collect();
                let head = None;
                variants.push(Variant { name, states, head });
            }
        }
        for x in &mut states {
            *x = model.run(&layer, x);
        }
        on_layer(i + 1, n_layers);
    }
    if let Some(format) = format_of(HEAD) {
        let rounded = rounded(checkpoint, HEAD, format, &states)?;
        variants.push(Variant {
            name: HEAD.to_owned(),
            states: states.clone(),
            head: Some(with_weight(model.head()?, rounded)),
        });
    }
    let head = model.head()?;
    let log_probabilities = |head: &DecoderHead, x| log_softmax(model.logits(head, x), 1);
    let mut sums = vec![0.0; variants.len()];
    for (t, x) in states.iter().enumerate() {
        let expected = log_probabilities(&head, x); // [tokens, vocab]
        let weights = expected.clone().exp();
        for (variant, sum) in variants.iter().zip(&mut sums) {
            let head = variant.head.as_ref().unwrap_or(&head);
            let found = log_probabilities(head, &variant.states[t]);
            let kl: f32 = (weights.clone() * excess(expected.clone() - found))
                .sum()
                .into_scalar();
            *sum += f64::from(kl);
        }
    }
    let n_tokens = texts.iter().map(Vec::len).sum::<usize>() as f64;
    let of_variant = |(variant, sum): (Variant, f64)| (variant.name, sum / n_tokens);
    Ok(variants.into_iter().zip(sums).map(of_variant).collect())
}

/// `Δ + exp(-Δ) - 1`, from which `Σ p excess(log p - log q)` is the divergence: no term is negative, so
/// that a small one does not drown in the rounding of others.
fn excess<const D: usize>(delta: Tensor<D>) -> Tensor<D> {
    const SMALL: f32 = 0.1;
    let square = delta.clone() * delta.clone();
    // The first terms of the series.
    let series = square * ((delta.clone() / 24.0 - 1.0 / 6.0) * delta.clone() + 0.5);
    let direct = delta.clone() + (-delta.clone()).exp() - 1.0;
    series.mask_where(delta.abs().greater_elem(SMALL), direct)
}

/// A weight rounded, on the device of `like`, `[out, in]`.
fn rounded(
    checkpoint: &Checkpoint,
    name: &str,
    format: PackedFormat,
    like: &[Tensor<3>],
) -> Result<Tensor<2>, QuantError> {
    let host = checkpoint.tensor(name)?;
    let [n_rows, n_cols] = [host.shape[0], host.shape[1]];
    let packed = PackedMatrix::pack(format, &host.data, n_rows, n_cols);
    let packed = packed.map_err(QuantError::of_weight(name))?;
    let values = TensorData::new(packed.unpack(), [n_rows, n_cols]);
    Ok(Tensor::from_data(values, &like[0].device()))
}

fn with_weight(head: DecoderHead, weight: Tensor<2>) -> DecoderHead {
    DecoderHead {
        lm_head: Linear::dense(weight, None),
        ..head
    }
}

/// Rows of a table for each text, `[1, tokens, d_model]`.
fn embedded(table: &Tensor<2>, texts: &[Vec<u32>]) -> Vec<Tensor<3>> {
    let of_text = |text: &Vec<u32>| {
        let ids: Vec<i64> = text.iter().map(|id| i64::from(*id)).collect();
        let ids = TensorData::new(ids, [text.len()]);
        let ids = Tensor::from_data(ids, &table.device());
        table.clone().select(0, ids).unsqueeze::<3>()
    };
    texts.iter().map(of_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn small_divergences_keep_their_digits() {
        let deltas = [1e-5_f32, -1e-3, 0.05, -0.099, 0.101, -2.0, 8.0];
        let found = excess(Tensor::<1>::from_floats(deltas, &Device::flex())).into_data();
        let found: Vec<f32> = found.try_into_vec().unwrap();
        for (found, delta) in found.iter().zip(deltas) {
            let delta = f64::from(delta);
            let expected = delta + (-delta).exp_m1();
            assert!((f64::from(*found) / expected - 1.0).abs() < 1e-4, "{delta}");
        }
    }
}
