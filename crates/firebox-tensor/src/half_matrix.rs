//! Frozen weights in the 16 bits that they came in.

use std::sync::Arc;

#[cfg(feature = "burn")]
use half::bf16;
use half::f16;
use half::slice::HalfBitsSliceExt;
use rayon::prelude::*;

use crate::host;
#[cfg(feature = "burn")]
use crate::host::SimdLevel;
#[cfg(feature = "burn")]
use crate::kernels::MatmulPrecision;

/// Values that one task converts.
const TASK_VALUES: usize = 64 << 10;

/// A matrix `[rows, columns]` whose values all fit bf16, or all fit f16. Clones share it.
#[derive(Clone, Debug)]
pub struct HalfMatrix {
    n_cols: usize,
    format: HalfFormat,
    bits: Arc<Vec<u16>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HalfFormat {
    Bf16,
    F16,
}

impl HalfMatrix {
    /// The same values, row-major, in 16 bits each; `None` where one of them needs more.
    ///
    /// # Panics
    /// When the values are no whole rows.
    pub fn exact(values: &[f32], n_cols: usize) -> Option<Self> {
        assert!(
            values.len().is_multiple_of(n_cols.max(1)),
            "a matrix of {n_cols} columns has whole rows"
        );
        let [bf16, f16] = [HalfFormat::Bf16, HalfFormat::F16];
        let format = [bf16, f16].into_iter().find(|format| {
            let tasks = values.par_chunks(TASK_VALUES);
            tasks.all(|values| values.iter().all(|x| format.holds(*x)))
        })?;
        let bits = values.par_iter().map(|x| format.bits(*x)).collect();
        Some(Self {
            n_cols,
            format,
            bits: Arc::new(bits),
        })
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.bits.len() / self.n_cols.max(1)
    }

    /// Columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Bytes in memory.
    pub fn n_bytes(&self) -> usize {
        2 * self.bits.len()
    }

    /// All values, row-major.
    pub fn unpack(&self) -> Vec<f32> {
        let mut values = host::zeros(self.bits.len());
        let tasks = values.par_chunks_mut(TASK_VALUES);
        tasks
            .zip(self.bits.par_chunks(TASK_VALUES))
            .for_each(|(values, bits)| self.format.convert(bits, values));
        values
    }

    /// `x Wᵀ` for a few rows: `[rows, columns]` to `[rows, rows of the matrix]`, with the bits of
    /// [`host::few_rows`] over the same weight in f32.
    pub fn matmul(&self, x: &[f32]) -> Vec<f32> {
        let shape = [x.len() / self.n_cols.max(1), self.n_cols, self.n_rows()];
        host::few_rows(x, shape, |rows| {
            let bits = &self.bits[rows.start * self.n_cols..rows.end * self.n_cols];
            let mut values = vec![0.0; bits.len()];
            self.format.convert(bits, &mut values);
            values.into()
        })
    }
}

#[cfg(feature = "burn")]
impl HalfMatrix {
    /// `x Wᵀ` for many rows, `[rows, columns]` to `[rows, rows of the matrix]`: a block of the weight at a
    /// time is widened, or rounded to bf16. The bits of the product with [`Self::unpack`]. `None` in f16.
    pub(crate) fn many_rows(&self, x: &[f32], precision: MatmulPrecision) -> Option<Vec<f32>> {
        let sizes = [x.len() / self.n_cols.max(1), self.n_rows(), self.n_cols];
        let level = SimdLevel::current();
        Some(match (precision, self.format) {
            (MatmulPrecision::F32, HalfFormat::Bf16) => {
                host::matmul_transposed::<bf16>(level, x, self.bits.reinterpret_cast(), sizes)
            }
            (MatmulPrecision::F32, HalfFormat::F16) => {
                host::matmul_transposed::<f16>(level, x, self.bits.reinterpret_cast(), sizes)
            }
            (MatmulPrecision::Bf16, HalfFormat::Bf16) => {
                host::bf16_matmul_transposed::<bf16>(level, x, self.bits.reinterpret_cast(), sizes)
            }
            (MatmulPrecision::Bf16, HalfFormat::F16) => {
                host::bf16_matmul_transposed::<f16>(level, x, self.bits.reinterpret_cast(), sizes)
            }
            (MatmulPrecision::F16, _) => return None,
        })
    }

    /// `x W`, `[rows, rows of the matrix]` to `[rows, columns]`, likewise.
    pub(crate) fn many_rows_back(&self, x: &[f32], precision: MatmulPrecision) -> Option<Vec<f32>> {
        let sizes = [x.len() / self.n_rows().max(1), self.n_cols, self.n_rows()];
        let level = SimdLevel::current();
        Some(match (precision, self.format) {
            (MatmulPrecision::F32, HalfFormat::Bf16) => {
                host::matmul::<bf16>(level, x, self.bits.reinterpret_cast(), sizes)
            }
            (MatmulPrecision::F32, HalfFormat::F16) => {
                host::matmul::<f16>(level, x, self.bits.reinterpret_cast(), sizes)
            }
            (MatmulPrecision::Bf16, HalfFormat::Bf16) => {
                host::bf16_matmul::<bf16>(level, x, self.bits.reinterpret_cast(), sizes)
            }
            (MatmulPrecision::Bf16, HalfFormat::F16) => {
                host::bf16_matmul::<f16>(level, x, self.bits.reinterpret_cast(), sizes)
            }
            (MatmulPrecision::F16, _) => return None,
        })
    }
}

impl HalfFormat {
    fn bits(self, x: f32) -> u16 {
        match self {
            Self::Bf16 => (x.to_bits() >> 16) as u16,
            Self::F16 => f16::from_f32(x).to_bits(),
        }
    }

    fn value(self, bits: u16) -> f32 {
        match self {
            Self::Bf16 => f32::from_bits(u32::from(bits) << 16),
            Self::F16 => f16::from_bits(bits).to_f32(),
        }
    }

    fn holds(self, x: f32) -> bool {
        self.value(self.bits(x)).to_bits() == x.to_bits()
    }

    fn convert(self, bits: &[u16], values: &mut [f32]) {
        use half::slice::HalfFloatSliceExt;
        match self {
            Self::Bf16 => {
                for (value, bits) in values.iter_mut().zip(bits) {
                    *value = Self::Bf16.value(*bits);
                }
            }
            Self::F16 => bits.reinterpret_cast::<f16>().convert_to_f32_slice(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_fits_comes_back_bit_for_bit(bits in prop::collection::vec(any::<u16>(), 1..200), is_bf16: bool) {
            let values: Vec<f32> = bits.iter().map(|bits| match is_bf16 {
                true => bf16::from_bits(*bits).to_f32(),
                false => f16::from_bits(*bits).to_f32(),
            }).filter(|x| !x.is_nan()).collect();
            let matrix = HalfMatrix::exact(&values, values.len()).unwrap();
            let found = matrix.unpack();
            prop_assert!(found.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()));
            prop_assert_eq!((matrix.n_cols(), matrix.n_bytes()), (values.len(), 2 * values.len()));
        }

        #[test]
        fn few_rows_have_the_bits_of_f32(rows in 0_usize..6, n_cols in 1_usize..80, n_rows in 1_usize..150, seed: u64) {
            let mut rng = crate::random::CounterRng::new(seed, 0);
            let x: Vec<f32> = (0..rows * n_cols).map(|_| rng.normal()).collect();
            let values: Vec<f32> = (0..n_rows * n_cols).map(|_| bf16::from_f32(rng.normal()).to_f32()).collect();
            let matrix = HalfMatrix::exact(&values, n_cols).unwrap();
            let expected = host::few_rows(&x, [rows, n_cols, n_rows], |rows| {
                values[rows.start * n_cols..rows.end * n_cols].into()
            });
            prop_assert_eq!(matrix.matmul(&x), expected);
        }
    }

    #[test]
    fn a_value_that_needs_more_is_not_rounded() {
        assert!(HalfMatrix::exact(&[1.0, 0.1], 2).is_none());
        let (of_bf16, of_f16) = (2_f32.powi(100), 1.0 + 2_f32.powi(-10));
        assert!(HalfMatrix::exact(&[of_bf16], 1).is_some());
        assert!(HalfMatrix::exact(&[of_f16], 1).is_some());
        assert!(HalfMatrix::exact(&[of_bf16, of_f16], 1).is_none());
        let of_both = HalfMatrix::exact(&[1.0, -0.0, 2.0, 0.5], 2).unwrap();
        assert_eq!((of_both.n_rows(), of_both.n_cols()), (2, 2));
    }
}
