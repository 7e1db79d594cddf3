//! Packs the weights of a layer by what they are multiplied with.

use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::Checkpoint;
use firebox_model::{LayerVisitor, Linear, Producer, host_f32};
use firebox_tensor::packed::{PackError, PackedFormat, PackedMatrix};

use crate::calibrated::{Calibration, Method};
use crate::config::QuantConfig;
use crate::error::QuantError;
use crate::gptq::Gptq;
use crate::hessian::Hessian;
use crate::journal::PackedTensor;
use crate::report::{TensorReport, relative_error};
use crate::rounding::weighted_rounding;

/// Packs each weight when all that it is multiplied with has been seen.
pub(crate) struct Packer<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a QuantConfig,
    method: Method,
    device: Device,
    /// Of the rows seen since the last weights.
    hessian: Option<Hessian>,
    /// Of the layer at hand.
    packed: Vec<PackedTensor>,
}

impl LayerVisitor for Packer<'_> {
    type Error = QuantError;

    fn rows(&mut self, x: Tensor<2>) -> Result<(), QuantError> {
        let new = || Hessian::new(x.dims()[1], &self.device);
        self.hessian.get_or_insert_with(new).add(x.clone());
        Ok(())
    }

    fn weights(
        &mut self,
        _producer: Producer<'_>,
        weights: &mut [(String, &mut Linear)],
    ) -> Result<(), QuantError> {
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
                None => rounding.insert(ByInputs::new(self.method, &hessian, &name)?),
            };
            let unpacked = self.pack(name, format, linear, (rounding, &hessian))?;
            linear.set_weight(unpacked);
        }
        Ok(())
    }
}

/// How the weights of some inputs are rounded.
enum ByInputs {
    Importance(Vec<f32>),
    Gptq(Box<Gptq>),
}

impl ByInputs {
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

impl<'a> Packer<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        config: &'a QuantConfig,
        calibration: &Calibration,
    ) -> Self {
        Self {
            checkpoint,
            config,
            method: calibration.method,
            device: calibration.device.clone(),
            hessian: None,
            packed: Vec::new(),
        }
    }

    /// What was packed since the last call.
    pub(crate) fn take(&mut self) -> Vec<PackedTensor> {
        std::mem::take(&mut self.packed)
    }

    /// Packs a weight; gives what it unpacks to, `[out, in]`.
    fn pack(
        &mut self,
        name: String,
        format: PackedFormat,
        linear: &Linear,
        (rounding, hessian): (&ByInputs, &Hessian),
    ) -> Result<Tensor<2>, QuantError> {
        let shape = linear.shape();
        let dense = linear.weight.to_dense(&self.device);
        let weight = host_f32(dense.clone());
        let packed = rounding.pack(format, &weight);
        let packed = packed.map_err(QuantError::of_weight(&name))?;
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
        self.packed.push((report, packed));
        Ok(unpacked)
    }
}

/// `‖(W − Ŵ) X‖ / ‖W X‖`, from `H = X Xᵀ`.
fn output_error(weight: Tensor<2>, unpacked: Tensor<2>, hessian: &Hessian) -> f64 {
    let lost = hessian.squared_outputs(weight.clone() - unpacked);
    let whole = hessian.squared_outputs(weight);
    if whole > 0.0 {
        (lost / whole).sqrt()
    } else {
        0.0
    }
}
