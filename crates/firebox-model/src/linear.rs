//! A linear layer whose weight is dense, in 16 bits or packed, with an optional LoRA side path.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use firebox_tensor::HalfMatrix;
use firebox_tensor::kernels::{
    MatmulPrecision, PackedOnDevice, linear, lora_linear, unpacked, unpacked_linear,
    unpacked_lora_linear,
};
use firebox_tensor::packed::PackedMatrix;

use crate::lora::LoraFactors;

/// From this many rows on, a packed weight is unpacked once and multiplied by a dense gemm.
const DENSE_FROM_ROWS: usize = 16;

/// `y = x Wᵀ + bias`, and `+ scale · (x Aᵀ) Bᵀ` when an adapter is attached.
///
/// The weight is `[out, in]`, PyTorch's layout, not burn's.
#[derive(Module, Debug)]
pub struct Linear {
    /// The weight, `[out, in]`.
    pub weight: Weight,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The adapter, if one is attached.
    pub lora: Option<LoraFactors>,
    /// In what the weight is multiplied.
    #[module(skip)]
    pub(crate) precision: MatmulPrecision,
}

/// A weight matrix as it lies in memory.
#[derive(Module, Debug)]
pub enum Weight {
    /// Floating point on the model's device, `[out, in]`.
    Dense(Param<Tensor<2>>),
    /// Floating point of 16 bits on the host; frozen.
    Half(HalfWeight),
    /// Packed bytes on the host, and a copy on the GPU that multiplied with them; frozen.
    Packed(PackedWeight),
}

/// Packed bytes as a module without parameters.
#[derive(Module, Debug)]
pub struct PackedWeight {
    #[module(skip)]
    pub(crate) matrix: PackedMatrix,
    #[module(skip)]
    on_device: PackedOnDevice,
}

/// Values of 16 bits as a module without parameters.
#[derive(Module, Debug)]
pub struct HalfWeight {
    #[module(skip)]
    pub(crate) matrix: HalfMatrix,
}

impl Linear {
    /// A layer with a dense weight `[out, in]` and no adapter.
    pub fn dense(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Self {
        Self {
            weight: Weight::Dense(Param::from_tensor(weight)),
            bias: bias.map(Param::from_tensor),
            lora: None,
            precision: MatmulPrecision::F32,
        }
    }

    /// A layer over packed bytes.
    pub fn packed(matrix: PackedMatrix, bias: Option<Tensor<1>>) -> Self {
        Self::frozen(
            Weight::Packed(PackedWeight {
                matrix,
                on_device: PackedOnDevice::default(),
            }),
            bias,
        )
    }

    /// A layer over a weight of 16 bits, to be computed on the CPU.
    pub fn half(matrix: HalfMatrix, bias: Option<Tensor<1>>) -> Self {
        Self::frozen(Weight::Half(HalfWeight { matrix }), bias)
    }

    fn frozen(weight: Weight, bias: Option<Tensor<1>>) -> Self {
        Self {
            weight,
            bias: bias.map(Param::from_tensor),
            lora: None,
            precision: MatmulPrecision::F32,
        }
    }

    /// Puts a dense weight, `[out, in]`, in place of the layer's; the bias stays, an adapter goes.
    pub fn set_weight(&mut self, weight: Tensor<2>) {
        *self = Self::dense(weight, self.bias.as_ref().map(Param::val));
    }

    /// `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        match &self.weight {
            Weight::Dense(weight) => weight.dims(),
            Weight::Half(half) => [half.matrix.n_rows(), half.matrix.n_cols()],
            Weight::Packed(packed) => [packed.matrix.n_rows(), packed.matrix.n_cols()],
        }
    }

    /// # Shapes
    /// `[batch, seq, in]` to `[batch, seq, out]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, seq, d_in] = x.dims();
        let rows = x.reshape([batch * seq, d_in]); // [batch * seq, in]
        let lora = self.lora.as_ref().filter(|lora| !lora.is_merged());
        let mut y = match (&self.weight, lora) {
            (Weight::Dense(weight), None) => linear(rows, weight.val(), self.precision),
            (Weight::Dense(weight), Some(lora)) if lora.is_plain(&rows) => {
                lora_linear(rows, weight.val(), lora.path(), self.precision)
            }
            (Weight::Dense(dense), Some(lora)) => lora.forward(rows, &self.weight, |rows| {
                linear(rows, dense.val(), self.precision)
            }),
            (Weight::Half(half), None) => unpacked_linear(rows, &half.matrix, self.precision),
            (Weight::Half(half), Some(lora)) if lora.is_plain(&rows) => {
                unpacked_lora_linear(rows, &half.matrix, lora.path(), self.precision)
            }
            (Weight::Half(half), Some(lora)) => lora.forward(rows, &self.weight, |rows| {
                unpacked_linear(rows, &half.matrix, self.precision)
            }),
            (Weight::Packed(packed), None) => packed.apply(rows, self.precision),
            (Weight::Packed(packed), Some(lora)) => lora.forward(rows, &self.weight, |rows| {
                packed.apply(rows, self.precision)
            }),
        };
        if let Some(bias) = &self.bias {
            y = y + bias.val().unsqueeze();
        }
        let d_out = y.dims()[1];
        y.reshape([batch, seq, d_out])
    }
}

impl Weight {
    /// The weight as floating point on `device`, `[out, in]`.
    pub fn to_dense(&self, device: &Device) -> Tensor<2> {
        match self {
            Self::Dense(weight) => weight.val(),
            Self::Half(half) => unpacked(&half.matrix, device),
            Self::Packed(packed) => unpacked(&packed.matrix, device),
        }
    }

    /// Bytes that the weight takes in memory.
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Dense(weight) => weight.shape().num_elements() * 4,
            Self::Half(half) => half.matrix.n_bytes(),
            Self::Packed(packed) => packed.matrix.n_bytes(),
        }
    }
}

impl PackedWeight {
    /// A GPU multiplies by a packed copy of its own. Elsewhere few rows are multiplied on the packed
    /// bytes; many rows, and rows that gradients flow through, by a dense gemm over the weight
    /// unpacked for this one call, and again for its gradient.
    fn apply(&self, x: Tensor<2>, precision: MatmulPrecision) -> Tensor<2> {
        if let Some(y) = self.on_device.linear(&x, &self.matrix) {
            return y;
        }
        let [rows, _] = x.dims();
        let device = x.device();
        if rows >= DENSE_FROM_ROWS || x.is_autodiff() {
            return unpacked_linear(x, &self.matrix, precision);
        }
        let y = self.matrix.matmul(&host_f32(x));
        Tensor::from_data(TensorData::new(y, [rows, self.matrix.n_rows()]), &device)
    }
}

/// The values of a tensor on the host, as f32.
pub fn host_f32<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("just converted to f32")
}

#[cfg(test)]
mod tests;
