//! Formats for the weights of a model by a budget of bytes: more bits where rounding costs more.

mod choice;
mod predictions;
mod sensitivity;

use std::collections::BTreeMap;

use burn::tensor::Device;
use firebox_checkpoint::Checkpoint;
use firebox_model::LayerwiseLlama;
use firebox_tensor::packed::{PackedFormat, PackedMatrix};
use serde::{Deserialize, Serialize};

use self::choice::{Choice, choose};
use self::sensitivity::divergences;
use crate::config::{PROJECTIONS, QuantConfig, TensorRule};
use crate::error::QuantError;
use crate::report::relative_error;

/// What weights may take, and in which formats.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Bytes of all tensors together, those that stay floats too; without what files have beside them.
    pub bytes: u64,
    /// Formats to choose from; each where rows are whole blocks of it.
    pub formats: Vec<PackedFormat>,
    /// Token ids of texts on which it is measured how far a rounded weight leads the model astray; a few
    /// hundred together.
    pub texts: Vec<Vec<u32>>,
    /// Where that is computed.
    pub device: Device,
}

/// The chosen formats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// Bytes of all tensors together.
    pub bytes: u64,
    /// By the sensitivities, in nats a token: the sum over the weights, each rounded to the nearest.
    pub predicted_kl: f64,
    /// The weights that had a choice, in the order of their names.
    pub tensors: Vec<AllocatedTensor>,
}

/// A weight that had a choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllocatedTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// What was chosen.
    pub format: PackedFormat,
    /// Its bytes so.
    pub bytes: u64,
    /// KL divergence, in nats a token, for each unit of `(‖W − Ŵ‖ / ‖W‖)²` in this weight alone.
    pub sensitivity: f64,
    /// `sensitivity` times the squared relative error in the chosen format.
    pub predicted_kl: f64,
}

impl Allocation {
    /// How many weights got which format, and their bytes.
    pub fn by_format(&self) -> BTreeMap<PackedFormat, (usize, u64)> {
        let mut sums: BTreeMap<PackedFormat, (usize, u64)> = BTreeMap::new();
        for tensor in &self.tensors {
            let (n, bytes) = sums.entry(tensor.format).or_default();
            *n += 1;
            *bytes += tensor.bytes;
        }
        sums
    }

    /// A rule for each of the weights.
    pub fn rules(&self) -> Vec<TensorRule> {
        let rule = |tensor: &AllocatedTensor| TensorRule::exactly(&tensor.name, tensor.format);
        self.tensors.iter().map(rule).collect()
    }
}

/// A weight, and what each format would make of it, fewest bytes first.
struct Candidate {
    name: String,
    packed: Vec<Packing>,
}

struct Packing {
    format: PackedFormat,
    bytes: u64,
    squared_error: f64,
}

/// Chooses a format for each projection, the embedding and the head, unless a rule of `config` names it.
///
/// Each weight alone is rounded in the smallest format, and the divergence of the model's predictions
/// measured. For other formats it is in proportion to the squared relative error of the weight, and the
/// divergences of several weights add up; so the best choice within the budget is one of a knapsack, which
/// is filled by the best step in divergence for a byte. The layers pass through memory once, with one
/// residual stream for each weight. `on_layer` is called after each with how many of how many are done.
///
/// Source: Malinovskii et al. (2024), theorem 1 and section 5, <https://arxiv.org/abs/2411.17525>.
///
/// # Errors
/// [`QuantError::Budget`] when the smallest formats take more; [`QuantError::RowNotWholeBlocks`] for a
/// weight that fits none; [`QuantError::NothingToQuantize`]; [`QuantError::Model`]; [`QuantError::Pack`];
/// [`QuantError::CalibrationText`] without texts; [`QuantError::NoFormats`].
pub fn allocate(
    checkpoint: &Checkpoint,
    config: &QuantConfig,
    budget: &Budget,
    on_layer: impl FnMut(usize, usize),
) -> Result<Allocation, QuantError> {
    if budget.formats.is_empty() {
        return Err(QuantError::NoFormats);
    }
    if budget.texts.is_empty() {
        let (expected, found) = (1, 0);
        return Err(QuantError::CalibrationText { expected, found });
    }
    let model = LayerwiseLlama::new(checkpoint, &budget.device)?;
    let mut candidates = Vec::new();
    let mut fixed = 0;
    for name in checkpoint.names() {
        let shape = checkpoint.shape(&name).unwrap_or_default();
        if config.has_choice(checkpoint, &name) {
            candidates.push(pack_in_each(checkpoint, name, &budget.formats)?);
        } else {
            fixed += fixed_bytes(checkpoint, config, &name, &shape)?;
        }
    }
    if candidates.is_empty() {
        let pattern = PROJECTIONS.to_owned();
        return Err(QuantError::NothingToQuantize { pattern });
    }
    // Before the measuring, which takes minutes.
    let least = candidates.iter().map(|candidate| candidate.packed[0].bytes);
    let least = least.sum::<u64>() + fixed;
    if least > budget.bytes {
        let bytes = budget.bytes;
        return Err(QuantError::Budget { bytes, least });
    }
    let smallest = |candidate: &Candidate| (candidate.name.clone(), candidate.packed[0].format);
    let probes: Vec<(String, PackedFormat)> = candidates.iter().map(smallest).collect();
    let kl = divergences(checkpoint, &model, &probes, &budget.texts, on_layer)?;
    let sensitivities: Vec<f64> = candidates
        .iter()
        .map(|candidate| match candidate.packed[0].squared_error {
            0.0 => 0.0,
            // What the decoder does not read changes nothing.
            error => kl.get(&candidate.name).unwrap_or(&0.0) / error,
        })
        .collect();
    let options: Vec<Vec<Choice>> = candidates
        .iter()
        .zip(&sensitivities)
        .map(|(candidate, sensitivity)| {
            let choice = |packing: &Packing| Choice {
                bytes: packing.bytes,
                cost: sensitivity * packing.squared_error,
            };
            candidate.packed.iter().map(choice).collect()
        })
        .collect();
    let chosen = choose(&options, budget.bytes - fixed).expect("room for the smallest formats");
    let tensors = candidates.into_iter().zip(sensitivities).zip(chosen);
    let tensors: Vec<AllocatedTensor> = tensors
        .map(|((candidate, sensitivity), chosen)| {
            let packing = &candidate.packed[chosen];
            AllocatedTensor {
                format: packing.format,
                bytes: packing.bytes,
                sensitivity,
                predicted_kl: sensitivity * packing.squared_error,
                name: candidate.name,
            }
        })
        .collect();
    Ok(Allocation {
        bytes: fixed + tensors.iter().map(|tensor| tensor.bytes).sum::<u64>(),
        predicted_kl: tensors.iter().map(|tensor| tensor.predicted_kl).sum(),
        tensors,
    })
}

/// Bytes of a tensor without a choice.
fn fixed_bytes(
    checkpoint: &Checkpoint,
    config: &QuantConfig,
    name: &str,
    shape: &[usize],
) -> Result<u64, QuantError> {
    if let Some((format, _)) = config.packs(checkpoint, name) {
        let packed = pack_in_each(checkpoint, name.to_owned(), &[format])?;
        return Ok(packed.packed[0].bytes);
    }
    let bytes = checkpoint.dtype(name).map_or(4, |dtype| dtype.n_bytes());
    Ok((shape.iter().product::<usize>() * bytes) as u64)
}

/// What a weight becomes in each of the formats that fit it, fewest bytes first.
fn pack_in_each(
    checkpoint: &Checkpoint,
    name: String,
    formats: &[PackedFormat],
) -> Result<Candidate, QuantError> {
    let host = checkpoint.tensor(&name)?;
    let [n_rows, n_cols] = [host.shape[0], host.shape[1]];
    let mut packed = Vec::new();
    for format in formats {
        if format.block_len(n_cols).is_none() {
            continue;
        }
        let matrix = PackedMatrix::pack(*format, &host.data, n_rows, n_cols);
        let matrix = matrix.map_err(QuantError::of_weight(&name))?;
        packed.push(Packing {
            format: *format,
            bytes: matrix.n_bytes() as u64,
            squared_error: relative_error(&host.data, &matrix.unpack()).powi(2),
        });
    }
    packed.sort_by_key(|packing| packing.bytes);
    match packed.is_empty() {
        true => Err(QuantError::RowNotWholeBlocks {
            name,
            format: formats[0],
            n_cols,
        }),
        false => Ok(Candidate { name, packed }),
    }
}

#[cfg(test)]
mod tests;
