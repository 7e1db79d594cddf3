//! Automatic mixed precision: which operation runs in which dtype.
//!
//! Source: Micikevicius et al. (2018), "Mixed Precision Training", <https://arxiv.org/abs/1710.03740>;
//! the classes of operations are those of PyTorch's `torch.autocast`.

mod op;

pub use op::{Op, OpClass, OpLists};

use burn::tensor::{DType, Device, Tensor, module};

use crate::kernels::{MatmulPrecision, is_cpu};

/// Says for every operation of a forward pass in which dtype it runs.
///
/// A value, handed down the forward pass, where PyTorch has a state of the thread: a nested region is
/// the code that gets another value. Master weights stay f32, and so do their gradients, since the
/// cast's own backward pass widens them again.
///
/// ```
/// use burn::tensor::{DType, Device, Tensor, activation::softmax};
/// use firebox_tensor::autocast::{Autocast, Op};
/// use firebox_tensor::kernels::MatmulPrecision;
/// # use firebox_tensor::burn;
///
/// let device = Device::default();
/// let x = Tensor::<2>::ones([2, 4], &device);
/// let weight = Tensor::<2>::ones([4, 3], &device);
///
/// let autocast = Autocast::new(MatmulPrecision::Bf16, &device);
/// let hidden = autocast.linear(x.clone(), weight.clone(), None); // in bf16
/// assert_eq!(hidden.dtype(), DType::BF16);
///
/// // A region in full precision.
/// let exact = Autocast::disabled(&device);
/// assert_eq!(exact.linear(x, weight, None).dtype(), DType::F32);
///
/// let shares = autocast.run(Op::Softmax, [hidden], |[x]| softmax(x, 1));
/// # assert_eq!(shares.dims(), [2, 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autocast {
    lower: MatmulPrecision,
    lists: OpLists,
}

impl Autocast {
    /// The policy of `torch.autocast` for the device's kind; [`MatmulPrecision::F32`] does nothing.
    pub fn new(lower: MatmulPrecision, device: &Device) -> Self {
        let lists = if is_cpu(&device.clone().inner()) {
            OpLists::Cpu
        } else {
            OpLists::Gpu
        };
        Self::with_lists(lower, lists)
    }

    /// The policy with lists of one's choice.
    pub const fn with_lists(lower: MatmulPrecision, lists: OpLists) -> Self {
        Self { lower, lists }
    }

    /// A region in which nothing is rounded.
    pub fn disabled(device: &Device) -> Self {
        Self::new(MatmulPrecision::F32, device)
    }

    /// What operations of [`OpClass::Lower`] are rounded to.
    pub const fn lower(self) -> MatmulPrecision {
        self.lower
    }

    /// Whether anything is rounded.
    pub fn is_enabled(self) -> bool {
        self.lower != MatmulPrecision::F32
    }

    /// The precision of a kernel that keeps its inputs and results f32 and rounds inside.
    pub fn precision(self, op: Op) -> MatmulPrecision {
        match op.class(self.lists) {
            OpClass::Lower => self.lower,
            OpClass::F32 | OpClass::Widest | OpClass::Unlisted => MatmulPrecision::F32,
        }
    }

    /// The dtype that inputs of these dtypes are brought to. f64 and whole numbers are left as they are.
    ///
    /// In a disabled region, and for operations on no list, inputs of several dtypes become the widest.
    pub fn dtype(self, op: Op, inputs: &[DType]) -> Option<DType> {
        let widest = || {
            let casted = inputs.iter().copied().filter(|dtype| is_casted(*dtype));
            casted.reduce(wider)
        };
        if !self.is_enabled() {
            return widest();
        }
        match op.class(self.lists) {
            OpClass::Lower => Some(self.lower.dtype()),
            OpClass::F32 => Some(DType::F32),
            OpClass::Widest | OpClass::Unlisted => widest(),
        }
    }

    /// Runs an operation on its inputs, all of one rank, in the dtype that is its own.
    pub fn run<const D: usize, const N: usize, R>(
        self,
        op: Op,
        inputs: [Tensor<D>; N],
        operation: impl FnOnce([Tensor<D>; N]) -> R,
    ) -> R {
        let dtypes = inputs.each_ref().map(Tensor::dtype);
        let target = self.dtype(op, &dtypes);
        operation(inputs.map(|x| cast(x, target)))
    }

    /// `x W + b` in the dtype of [`Op::Linear`].
    ///
    /// # Shapes
    /// `x` `[.., in]`, `weight` `[in, out]` (burn's layout, that of [`burn::nn::Linear`]), `bias` `[out]`,
    /// result `[.., out]`.
    pub fn linear<const D: usize>(
        self,
        x: Tensor<D>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<D> {
        let target = self.dtype(Op::Linear, &[x.dtype(), weight.dtype()]);
        let bias = bias.map(|bias| cast(bias, target));
        module::linear(cast(x, target), cast(weight, target), bias)
    }
}

/// Autocast touches these alone.
fn is_casted(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::Flex32 | DType::F16 | DType::BF16)
}

/// Two different halves have f32 in common.
fn wider(a: DType, b: DType) -> DType {
    if a == b { a } else { DType::F32 }
}

fn cast<const D: usize>(x: Tensor<D>, target: Option<DType>) -> Tensor<D> {
    match target {
        Some(dtype) if is_casted(x.dtype()) && x.dtype() != dtype => x.cast(dtype),
        _ => x,
    }
}
