//! How far each weight alone, rounded, leads the model's predictions astray.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use firebox_checkpoint::Checkpoint;
use firebox_model::{DecoderHead, LayerwiseLlama};
use firebox_tensor::kernels::unpacked;
use firebox_tensor::packed::{PackedFormat, PackedMatrix};

use super::predictions::Predictions;
use crate::config::{EMBEDDING, HEAD};
use crate::error::QuantError;

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
    let device = &states[0].device();
    let mut variants = Vec::new();
    if let Some(format) = format_of(EMBEDDING) {
        let table = rounded(checkpoint, EMBEDDING, format)?;
        let head = match model.config().tie_embeddings {
            true => Some(with_weight(model.head()?, unpacked(&table, device))),
            false => None,
        };
        variants.push(Variant {
            name: EMBEDDING.to_owned(),
            states: model.embed_with(&table.unpack(), texts),
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
                let weight = rounded(checkpoint, &name, format)?;
                let mut changed = layer.clone();
                changed.linears_mut(i)[k]
                    .1
                    .set_weight(unpacked(&weight, device));
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
        let weight = unpacked(&rounded(checkpoint, HEAD, format)?, device);
        variants.push(Variant {
            name: HEAD.to_owned(),
            states: states.clone(),
            head: Some(with_weight(model.head()?, weight)),
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

/// A weight rounded to the nearest.
fn rounded(
    checkpoint: &Checkpoint,
    name: &str,
    format: PackedFormat,
) -> Result<PackedMatrix, QuantError> {
    let host = checkpoint.tensor(name)?;
    PackedMatrix::pack(format, &host.data, host.shape[0], host.shape[1])
        .map_err(QuantError::of_weight(name))
}

fn with_weight(mut head: DecoderHead, weight: Tensor<2>) -> DecoderHead {
    head.lm_head.set_weight(weight);
    head
}
