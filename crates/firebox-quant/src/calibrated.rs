//! Packing a model with regard to what its weights are multiplied with, layer by layer.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::{Checkpoint, HfWriter};
use firebox_model::{LayerVisitor, LayerwiseLlama, Linear};
use firebox_tensor::packed::{PackError, PackedFormat, PackedMatrix};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::QuantConfig;
use crate::error::QuantError;
use crate::gptq::{Gptq, GptqConfig, weighted_rounding};
use crate::hessian::Hessian;
use crate::journal::{Journal, PackedTensor};
use crate::quantize::{declare, write_tensor};
use crate::report::{QuantReport, TensorReport, relative_error};

/// Fewer calibration tokens than this say nothing.
const MIN_TOKENS: usize = 128;

/// How calibration text is used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Each value to the nearest, scales by how much each column counts.
    Importance,
    /// Errors made good in later columns.
    Gptq(GptqConfig),
}

/// Texts, and what to do with them.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// The method.
    pub method: Method,
    /// Token ids of each text, none longer than the context.
    pub texts: Vec<Vec<u32>>,
    /// Where the layers are computed.
    pub device: Device,
    /// A folder for what is done so far: a run with the same model, texts and settings that was
    /// interrupted goes on after its last finished layer. It is deleted at the end.
    pub journal: Option<PathBuf>,
}

/// Packs `checkpoint` into a new directory `out`, as
/// [`quantize_checkpoint`](crate::quantize_checkpoint) does, but by a method that looks at what the
/// weights are multiplied with when the model reads `calibration`'s texts.
///
/// One layer is in memory at a time, and the residual stream of the texts. A weight sees what the
/// packed weights before it compute, as it will when the packed model runs. `on_layer` is called after
/// each layer with how many of how many are done. The result depends on the model, the texts and the
/// config alone.
///
/// # Errors
/// As [`quantize_checkpoint`](crate::quantize_checkpoint); [`QuantError::Model`] for a model that is no
/// Llama or texts that it cannot read; [`QuantError::CalibrationText`], [`QuantError::Hessian`],
/// [`QuantError::RowNotWholeBlocks`], [`QuantError::Journal`]. `out` then is as it was.
pub fn quantize_calibrated(
    checkpoint: &Checkpoint,
    config: &QuantConfig,
    calibration: &Calibration,
    out: &Path,
    mut on_layer: impl FnMut(usize, usize),
) -> Result<QuantReport, QuantError> {
    let found = calibration.texts.iter().map(Vec::len).sum();
    if found < MIN_TOKENS {
        let expected = MIN_TOKENS;
        return Err(QuantError::CalibrationText { expected, found });
    }
    let device = calibration.device.clone();
    let model = LayerwiseLlama::new(checkpoint, &device)?;
    let names = checkpoint.names();
    let mut writer = HfWriter::create(out)?;
    writer.set_config(checkpoint.config().clone());
    writer.copy_side_files(checkpoint)?;
    declare(checkpoint, config, &names, &mut writer)?;
    let (seen, others): (Vec<&String>, Vec<&String>) = names
        .iter()
        .partition(|name| is_seen(name) && config.packs(checkpoint, name).is_some());
    check_blocks(checkpoint, config, &seen)?;
    let mut tensors = Vec::new();
    for name in others {
        tensors.extend(write_tensor(
            checkpoint,
            config,
            name,
            &mut writer,
            pack_alike,
        )?);
    }
    let n_layers = model.config().n_layers;
    let (journal, n_done) = match &calibration.journal {
        None => (None, 0),
        Some(dir) => {
            let run = description(checkpoint, config, calibration);
            let (journal, n_done) = Journal::open(dir, &run, n_layers)?;
            (Some(journal), n_done)
        }
    };
    let mut states = match (&journal, n_done.checked_sub(1)) {
        (Some(journal), Some(last)) => journal.states(last, calibration.texts.len(), &device)?,
        _ => model.embed(&calibration.texts)?,
    };
    let mut packer = Packer {
        checkpoint,
        config,
        method: calibration.method,
        device,
        hessian: None,
        layer: Vec::new(),
    };
    for i in 0..n_layers {
        let packed = match &journal {
            Some(journal) if i < n_done => journal.layer(i)?,
            _ => {
                let mut layer = model.layer(i)?;
                model.visit(i, &mut layer, &mut states, &mut packer)?;
                let packed = std::mem::take(&mut packer.layer);
                if let Some(journal) = &journal {
                    journal.save(i, &packed, &states)?;
                }
                packed
            }
        };
        for (report, matrix) in packed {
            writer.write_packed(&report.name, &matrix)?;
            tensors.push(report);
        }
        on_layer(i + 1, n_layers);
    }
    writer.finish()?;
    if let Some(journal) = journal {
        journal.remove()?;
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(QuantReport {
        format: config.format,
        bytes_before: checkpoint.size_bytes(),
        bytes_after: Checkpoint::open(out)?.size_bytes(),
        tensors,
    })
}

/// What a run is made of: another description, another run.
fn description(checkpoint: &Checkpoint, config: &QuantConfig, calibration: &Calibration) -> String {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": checkpoint.path(),
        "bytes": checkpoint.size_bytes(),
        "config": config,
        "method": calibration.method,
        "texts": calibration.texts,
    })
    .to_string()
}

/// Packs a weight whose columns count alike.
fn pack_alike(
    format: PackedFormat,
    weight: &[f32],
    [n_rows, n_cols]: [usize; 2],
) -> Result<PackedMatrix, PackError> {
    match format.block_len(n_cols) {
        Some(_) => weighted_rounding(format, weight, &vec![1.0; n_cols]),
        None => PackedMatrix::pack(format, weight, n_rows, n_cols),
    }
}

/// Whether a tensor is a weight that calibration looks at.
fn is_seen(name: &str) -> bool {
    name.starts_with("model.layers.") && name.ends_with("_proj.weight")
}

fn check_blocks(
    checkpoint: &Checkpoint,
    config: &QuantConfig,
    names: &[&String],
) -> Result<(), QuantError> {
    for name in names {
        if let Some((format, [_, n_cols])) = config.packs(checkpoint, name)
            && format.block_len(n_cols).is_none()
        {
            let name = (*name).clone();
            return Err(QuantError::RowNotWholeBlocks {
                name,
                format,
                n_cols,
            });
        }
    }
    Ok(())
}

/// Packs each weight when all that it is multiplied with has been seen.
struct Packer<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a QuantConfig,
    method: Method,
    device: Device,
    /// Of the rows seen since the last weights.
    hessian: Option<Hessian>,
    /// Of the layer at hand.
    layer: Vec<PackedTensor>,
}

impl LayerVisitor for Packer<'_> {
    type Error = QuantError;

    fn rows(&mut self, x: Tensor<2>) -> Result<(), QuantError> {
        let new = || Hessian::new(x.dims()[1], &self.device);
        self.hessian.get_or_insert_with(new).add(x.clone());
        Ok(())
    }

    fn weights(&mut self, weights: &mut [(String, &mut Linear)]) -> Result<(), QuantError> {
        let Some(hessian) = self.hessian.take() else {
            return Ok(());
        };
        let mut rounding = None;
        for (layer, linear) in weights {
            let name = format!("{layer}.weight");
            let Some((format, _)) = self.config.packs(self.checkpoint, &name) else {
                continue;
            };
            // All weights of a call have the same inputs.
            let rounding = match &rounding {
                Some(rounding) => rounding,
                None => rounding.insert(Rounding::new(self.method, &hessian, &name)?),
            };
            let unpacked = self.pack(name, format, linear, (rounding, &hessian))?;
            let bias = linear.bias.as_ref().map(burn::module::Param::val);
            **linear = Linear::dense(unpacked, bias);
        }
        Ok(())
    }
}

/// How the weights of some inputs are rounded.
enum Rounding {
    Importance(Vec<f32>),
    Gptq(Box<Gptq>),
}

impl Rounding {
    fn new(method: Method, hessian: &Hessian, name: &str) -> Result<Self, QuantError> {
        match method {
            Method::Importance => Ok(Self::Importance(hessian.mean_squares())),
            Method::Gptq(config) => match Gptq::new(hessian, &config) {
                Some(gptq) => Ok(Self::Gptq(Box::new(gptq))),
                None => Err(QuantError::Hessian {
                    name: name.to_owned(),
                    damping: config.damping,
                }),
            },
        }
    }

    fn pack(&self, format: PackedFormat, weight: &[f32]) -> Result<PackedMatrix, PackError> {
        match self {
            Self::Importance(importance) => weighted_rounding(format, weight, importance),
            Self::Gptq(gptq) => gptq.pack(format, weight),
        }
    }
}

impl Packer<'_> {
    /// Packs a weight; gives what it unpacks to, `[out, in]`.
    fn pack(
        &mut self,
        name: String,
        format: PackedFormat,
        linear: &Linear,
        (rounding, hessian): (&Rounding, &Hessian),
    ) -> Result<Tensor<2>, QuantError> {
        let shape = linear.shape();
        let dense = linear.weight.to_dense(&self.device);
        let weight = dense.clone().into_data().convert::<f32>();
        let weight: Vec<f32> = weight.try_into_vec().expect("just converted to f32");
        let packed = rounding.pack(format, &weight);
        let packed = packed.map_err(|source| QuantError::Pack {
            name: name.clone(),
            source,
        })?;
        let values = packed.unpack();
        let relative_error = relative_error(&weight, &values);
        let unpacked = Tensor::from_data(TensorData::new(values, shape), &self.device);
        let report = TensorReport {
            name,
            format,
            shape,
            packed_bytes: packed.n_bytes() as u64,
            relative_error,
            output_error: Some(output_error(dense, unpacked.clone(), hessian)),
        };
        self.layer.push((report, packed));
        Ok(unpacked)
    }
}

/// `‖(W − Ŵ) X‖ / ‖W X‖`, from `H = X Xᵀ`.
fn output_error(weight: Tensor<2>, unpacked: Tensor<2>, hessian: &Hessian) -> f64 {
    let error = weight.clone() - unpacked;
    let squares = |w: Tensor<2>| -> f64 {
        let sum: f32 = (w.clone().matmul(hessian.sum()) * w).sum().into_scalar();
        f64::from(sum.max(0.0))
    };
    let (lost, whole) = (squares(error), squares(weight));
    if whole > 0.0 {
        (lost / whole).sqrt()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
