//! In which numbers a matrix product is computed, and the products themselves on the CPU.

use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;

/// What the factors of a matrix product are rounded to. Sums are in f32 either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MatmulPrecision {
    /// Nothing.
    #[default]
    F32,
    /// bf16, forward and backward: twice the speed with AVX-512 BF16 (and on a GPU). Weights,
    /// gradients and everything between products stay f32, as under PyTorch's autocast.
    Bf16,
    /// f16, forward and backward, and the results, too: gradients below 6e-8 become zero, and values
    /// above 65504 infinite, as under PyTorch's autocast; the loss has to be scaled. On the CPU the
    /// rounded factors are multiplied in f32, which is exact: it is for finding out, not for speed.
    F16,
}

impl MatmulPrecision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// What factors are rounded to.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl fmt::Display for MatmulPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MatmulPrecision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownPrecision {
            found: name.to_owned(),
        })
    }
}

/// A name that is no [`MatmulPrecision`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("precision `{found}`: expected `f32`, `bf16` or `f16`")]
pub struct UnknownPrecision {
    /// The name that was given.
    pub found: String,
}

#[cfg(feature = "cpu")]
pub(super) mod on_cpu {
    use burn::backend::flex::FlexTensor;
    use burn::tensor::TensorData;

    use super::super::flex_op::values;
    use super::MatmulPrecision;
    use crate::host::{self, SimdLevel};

    /// Of a matrix.
    pub(in super::super) fn dims(x: &FlexTensor) -> [usize; 2] {
        let shape = x.layout().shape();
        [shape[0], shape[1]]
    }

    pub(in super::super) fn tensor(values: Vec<f32>, shape: [usize; 2]) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(values, shape))
    }

    impl MatmulPrecision {
        /// `x Wᵀ`: `x` `[rows, in]`, `w` `[out, in]`.
        pub(in super::super) fn transposed(self, x: &FlexTensor, w: &FlexTensor) -> FlexTensor {
            let ([n_rows, depth], [n_out, _]) = (dims(x), dims(w));
            let sizes = [n_rows, n_out, depth];
            let level = SimdLevel::current();
            let y = match self {
                Self::F32 => host::matmul_transposed(level, values(x), values(w), sizes),
                Self::F16 => {
                    let [x, w] = [x, w].map(|x| f16::rounded(values(x)));
                    f16::round(host::matmul_transposed(level, &x, &w, sizes))
                }
                Self::Bf16 => host::bf16_matmul_transposed(level, values(x), values(w), sizes),
            };
            tensor(y, [n_rows, n_out])
        }

        /// `x B`: `x` `[rows, depth]`, `b` `[depth, n]`.
        pub(in super::super) fn product(self, x: &FlexTensor, b: &FlexTensor) -> FlexTensor {
            let ([n_rows, depth], [_, n]) = (dims(x), dims(b));
            let sizes = [n_rows, n, depth];
            let level = SimdLevel::current();
            let y = match self {
                Self::F32 => host::matmul(level, values(x), values(b), sizes),
                Self::F16 => {
                    let [x, b] = [x, b].map(|x| f16::rounded(values(x)));
                    f16::round(host::matmul(level, &x, &b, sizes))
                }
                Self::Bf16 => host::bf16_matmul(level, values(x), values(b), sizes),
            };
            tensor(y, [n_rows, n])
        }

        /// `Aᵀ B`: `a` `[depth, m]`, `b` `[depth, n]`.
        pub(in super::super) fn outer(self, a: &FlexTensor, b: &FlexTensor) -> FlexTensor {
            let ([depth, m], [_, n]) = (dims(a), dims(b));
            let sizes = [m, n, depth];
            let level = SimdLevel::current();
            let (a, b) = (values(a), values(b));
            let c = match self {
                Self::F32 => host::outer(level, a, b, sizes),
                Self::F16 => f16::round(host::outer(
                    level,
                    &f16::rounded(a),
                    &f16::rounded(b),
                    sizes,
                )),
                Self::Bf16 => host::bf16_outer(level, a, b, sizes),
            };
            tensor(c, [m, n])
        }

        /// `c += Aᵀ B`: `a` `[depth, m]`, `b` `[depth, n]`, `c` `[m, n]`.
        pub(in super::super) fn add_outer(self, a: &FlexTensor, b: &FlexTensor, c: &mut [f32]) {
            let ([depth, m], [_, n]) = (dims(a), dims(b));
            let (a, b, sizes) = (values(a), values(b), [m, n, depth]);
            let level = SimdLevel::current();
            match self {
                Self::F32 => host::add_outer(level, a, b, sizes, c),
                Self::Bf16 => host::bf16_add_outer(level, a, b, sizes, c),
                Self::F16 => {
                    let product = host::outer(level, &f16::rounded(a), &f16::rounded(b), sizes);
                    let product = f16::round(product);
                    c.iter_mut().zip(&product).for_each(|(c, x)| *c += x);
                }
            }
        }
    }

    /// Rounding to f16 and back.
    mod f16 {
        use half::slice::HalfFloatSliceExt;
        use rayon::prelude::*;

        use crate::host;

        /// Values that one task rounds: two buffers of it stay in the first cache.
        const CHUNK: usize = 4096;

        /// To the nearest f16, ties to even; infinite above 65504, zero below 3e-8.
        pub(super) fn round(mut values: Vec<f32>) -> Vec<f32> {
            values.par_chunks_mut(CHUNK).for_each(|values| {
                let mut halves = [half::f16::ZERO; CHUNK];
                let halves = &mut halves[..values.len()];
                halves.convert_from_f32_slice(values);
                halves.convert_to_f32_slice(values);
            });
            values
        }

        pub(super) fn rounded(values: &[f32]) -> Vec<f32> {
            round(host::copied(values))
        }
    }
}
