//! How far each weight alone, rounded, leads the model's predictions astray.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use firebox_checkpoint::Checkpoint;
use firebox_model::{DecoderHead, LayerwiseLlama, Linear};
use firebox_tensor::packed::{PackedFormat, PackedMatrix};

use super::predictions::Predictions;
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
    let vocab = model.config().vocab_size;
    let predictions = |head: &DecoderHead, x| Predictions::new(model.logits(head, x), vocab);
    let mut sums = vec![0.0; variants.len()];
    for (t, x) in states.iter().enumerate() {
        let expected = predictions(&head, x);
        for (variant, sum) in variants.iter().zip(&mut sums) {
            let head = variant.head.as_ref().unwrap_or(&head);
            *sum += expected.divergence(&predictions(head, &variant.states[t]));
        }
    }
    let n_tokens = texts.iter().map(Vec::len).sum::<usize>() as f64;
    let of_variant = |(variant, sum): (Variant, f64)| (variant.name, sum / n_tokens);
    Ok(variants.into_iter().zip(sums).map(of_variant).collect())
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
