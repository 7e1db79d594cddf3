//! Packing a model with regard to what its weights are multiplied with, layer by layer.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
use firebox_model::LayerwiseLlama;
use firebox_tensor::packed::{PackError, PackedFormat, PackedMatrix};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::{HEAD, QuantConfig};
use crate::error::QuantError;
use crate::gptq::GptqConfig;
use crate::journal::{FinishedLayer, Journal};
use crate::packer::Packer;
use crate::quantize::{declare, kept_dtype, write_tensor};
use crate::report::{QuantReport, TensorReport};
use crate::rounding::weighted_rounding;
use crate::scaling::{Scaler, Scaling};

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
    /// How columns are scaled before.
    pub scaling: Option<Scaling>,
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
    let model = LayerwiseLlama::new(checkpoint, &calibration.device)?;
    let names = checkpoint.names();
    let is_scaled = |name: &str| calibration.scaling.is_some() && is_of_layer(name);
    let is_seen = |name: &str| {
        let is_head = name == HEAD && !model.config().tie_embeddings;
        is_head || is_of_layer(name) && name.ends_with("_proj.weight")
    };
    let mut writer = HfWriter::create(out)?;
    writer.set_config(checkpoint.config().clone());
    writer.copy_side_files(checkpoint)?;
    let dtype_of = |name: &str| match is_scaled(name) {
        true => Dtype::F32,
        false => kept_dtype(checkpoint, name),
    };
    declare(checkpoint, config, &names, dtype_of, &mut writer)?;
    let (seen, others): (Vec<&String>, Vec<&String>) = names
        .iter()
        .partition(|name| is_seen(name) && config.packs(checkpoint, name).is_some());
    check_blocks(checkpoint, config, &seen)?;
    let mut tensors = Vec::new();
    for name in others.into_iter().filter(|name| !is_scaled(name)) {
        let report = write_tensor(checkpoint, config, name, &mut writer, pack_alike)?;
        tensors.extend(report);
    }
    let run = Run {
        checkpoint,
        config,
        calibration,
        model: &model,
    };
    let (journal, n_done, mut states) = run.resume()?;
    let n_layers = model.config().n_layers;
    for i in 0..n_layers {
        let layer = match &journal {
            Some(journal) if i < n_done => journal.layer(i)?,
            _ => {
                let layer = run.layer(i, &mut states)?;
                if let Some(journal) = &journal {
                    journal.save(i, &layer, &states)?;
                }
                layer
            }
        };
        tensors.extend(layer.write(&mut writer)?);
        on_layer(i + 1, n_layers);
    }
    if seen.iter().any(|name| *name == HEAD) {
        tensors.extend(run.head(&states)?.write(&mut writer)?);
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

/// What all layers of a run have in common.
struct Run<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a QuantConfig,
    calibration: &'a Calibration,
    model: &'a LayerwiseLlama<'a>,
}

impl Run<'_> {
    /// The journal, how many layers are done, and the residual streams behind them.
    fn resume(&self) -> Result<(Option<Journal>, usize, Vec<Tensor<3>>), QuantError> {
        let Calibration { texts, device, .. } = self.calibration;
        let Some(dir) = &self.calibration.journal else {
            return Ok((None, 0, self.model.embed(texts)?));
        };
        let run = description(self.checkpoint, self.config, self.calibration);
        let (journal, n_done) = Journal::open(dir, &run, self.model.config().n_layers)?;
        let states = match n_done.checked_sub(1) {
            Some(last) => journal.states(last, texts.len(), device)?,
            None => self.model.embed(texts)?,
        };
        Ok((Some(journal), n_done, states))
    }

    /// Packs layer `i`, and takes the states through what it became.
    fn layer(&self, i: usize, states: &mut [Tensor<3>]) -> Result<FinishedLayer, QuantError> {
        let (checkpoint, config, device) = (self.checkpoint, self.config, &self.calibration.device);
        let mut layer = self.model.layer(i)?;
        if let Some(scaling) = self.calibration.scaling {
            // All scales before any rounding: a weight is scaled by its inputs, and by what reads it.
            let mut scaler = Scaler::new(scaling, checkpoint, config, device);
            let mut unscaled = states.to_vec();
            self.model
                .visit(i, &mut layer, &mut unscaled, &mut scaler)?;
        }
        let mut packer = Packer::new(checkpoint, config, self.calibration);
        self.model.visit(i, &mut layer, states, &mut packer)?;
        let kept = match self.calibration.scaling {
            None => Vec::new(),
            Some(_) => layer.named_weights(i, device),
        };
        let is_kept = |name: &str| config.packs(checkpoint, name).is_none();
        Ok(FinishedLayer {
            packed: packer.take(),
            kept: kept
                .into_iter()
                .filter(|weight| is_kept(&weight.name))
                .map(|weight| (weight.name.clone(), weight.values()))
                .collect(),
        })
    }

    /// Packs the head.
    fn head(&self, states: &[Tensor<3>]) -> Result<FinishedLayer, QuantError> {
        let mut packer = Packer::new(self.checkpoint, self.config, self.calibration);
        self.model
            .visit_head(&mut self.model.head()?, states, &mut packer)?;
        Ok(FinishedLayer {
            packed: packer.take(),
            kept: Vec::new(),
        })
    }
}

impl FinishedLayer {
    fn write(self, writer: &mut HfWriter) -> Result<Vec<TensorReport>, QuantError> {
        for (name, values) in &self.kept {
            writer.write_tensor(name, values)?;
        }
        let mut reports = Vec::with_capacity(self.packed.len());
        for (report, matrix) in self.packed {
            writer.write_packed(&report.name, &matrix)?;
            reports.push(report);
        }
        Ok(reports)
    }
}

/// What a run is made of: another description, another run.
fn description(checkpoint: &Checkpoint, config: &QuantConfig, calibration: &Calibration) -> String {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "journal": 2,
        "model": checkpoint.path(),
        "bytes": checkpoint.size_bytes(),
        "config": config,
        "method": calibration.method,
        "scaling": calibration.scaling,
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

/// Whether a tensor is one of those of a layer that calibration reads.
fn is_of_layer(name: &str) -> bool {
    let ends = ["_layernorm.weight", "_proj.weight", "_proj.bias"];
    name.starts_with("model.layers.") && ends.iter().any(|end| name.ends_with(end))
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

#[cfg(test)]
mod tests;
