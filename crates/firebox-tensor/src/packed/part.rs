//! The named byte arrays that a packed weight is saved as.

use half::f16;

use crate::packed::{PackError, PackedFormat};

#[cfg(target_endian = "big")]
compile_error!("firebox-tensor lends packed parts as the little-endian bytes of memory");

/// Element type of a [`PackedPart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartDtype {
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// IEEE single precision, little-endian.
    F32,
    /// IEEE half precision, little-endian.
    F16,
}

impl PartDtype {
    /// Size of one element.
    pub fn n_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// One named array of a packed weight, as it goes into a file.
///
/// | format | parts |
/// |---|---|
/// | `nf4`, `fp4` | `codes` U8 `[ceil(n / 2)]`, `absmax` F32 `[n_blocks]` |
/// | `nf4-dq`, `fp4-dq` | `codes`, `absmax_codes` U8 `[n_blocks]`, `absmax_absmax` F32 `[ceil(n_blocks / 256)]`, `absmax_offset` F32 `[1]` |
/// | `int8` | `codes` I8 `[n_rows, n_cols]`, `absmax` F32 `[n_rows]` |
/// | `q8_0`, `q4_0`, `q4_1`, `q5_0`, `q5_1` | `blocks` U8 `[n_rows, n_cols / 32 * block_bytes]`, the bytes of a GGUF tensor |
/// | `int4-…` | `codes` U8 `[n_rows, n_cols / 2]`, `scales` F16 `[n_rows, n_groups]`, and unless symmetric `zeros` U8 `[n_rows, ceil(n_groups / 2)]` |
/// | `q4_k`, `q5_k`, `q6_k` | `blocks` U8 `[n_rows, n_cols / 256 * block_bytes]`, likewise |
///
/// `n = n_rows * n_cols` and `n_blocks = ceil(n / 64)`.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedPart<'a> {
    /// Name, appended to the tensor's name in a file: `q_proj.weight.absmax`.
    pub name: &'static str,
    /// Element type.
    pub dtype: PartDtype,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Little-endian bytes.
    pub bytes: &'a [u8],
}

/// Takes parts by name and checks each one's length.
pub(super) struct PartReader<F> {
    pub(super) format: PackedFormat,
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    pub(super) get: F,
}

impl<F: FnMut(&str) -> Option<Vec<u8>>> PartReader<F> {
    /// The bytes of `part`, exactly `expected` of them.
    pub(super) fn bytes(
        &mut self,
        part: &'static str,
        expected: usize,
    ) -> Result<Vec<u8>, PackError> {
        let &mut Self {
            format,
            n_rows,
            n_cols,
            ..
        } = self;
        let bytes = (self.get)(part).ok_or(PackError::MissingPart { format, part })?;
        let found = bytes.len();
        if found != expected {
            return Err(PackError::PartLength {
                format,
                part,
                n_rows,
                n_cols,
                expected,
                found,
            });
        }
        Ok(bytes)
    }

    /// The bytes of the `expected` finite f16 values of `part`.
    pub(super) fn f16_scales(
        &mut self,
        part: &'static str,
        expected: usize,
    ) -> Result<Vec<u8>, PackError> {
        let bytes = self.bytes(part, 2 * expected)?;
        let scales = bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f16::from_le_bytes(*bytes).to_f32());
        for (index, value) in scales.enumerate() {
            if !value.is_finite() {
                let format = self.format;
                return Err(PackError::NonFiniteScale {
                    format,
                    part,
                    index,
                    value,
                });
            }
        }
        Ok(bytes)
    }

    /// The `expected` finite f32 values of `part`.
    pub(super) fn scales(
        &mut self,
        part: &'static str,
        expected: usize,
    ) -> Result<Vec<f32>, PackError> {
        let &mut Self {
            format,
            n_rows,
            n_cols,
            ..
        } = self;
        let n_bytes = expected
            .checked_mul(4)
            .ok_or(PackError::TooManyElements { n_rows, n_cols })?;
        let bytes = self.bytes(part, n_bytes)?;
        let scales: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        match scales.iter().position(|scale| !scale.is_finite()) {
            Some(index) => {
                let value = scales[index];
                Err(PackError::NonFiniteScale {
                    format,
                    part,
                    index,
                    value,
                })
            }
            None => Ok(scales),
        }
    }
}
