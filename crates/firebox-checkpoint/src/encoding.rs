//! Values to bytes and back, on all cores. Narrowing rounds to nearest, ties to even.

use half::{f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

use crate::{
    dtype::Dtype,
    error::{CheckpointError, WriteError},
};

/// Elements that one task converts: large enough to be worth a task, small enough for the cache.
const CHUNK: usize = 1 << 14;

/// Converts one chunk.
type Encode = fn(&[f32], &mut [u8]);

/// Whether [`decode`] and [`encode`] know the dtype.
pub(crate) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64)
}

/// The values of `bytes`, which need not be aligned. `None` for a dtype that is not a plain float.
/// Bytes past the last whole element are ignored.
pub(crate) fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let convert: fn(&[u8], &mut [f32]) = match dtype {
        Dtype::F32 => |bytes, out| {
            let (words, _) = bytes.as_chunks::<4>();
            words
                .iter()
                .zip(out)
                .for_each(|(word, y)| *y = f32::from_le_bytes(*word));
        },
        Dtype::BF16 => |bytes, out| {
            let (words, _) = bytes.as_chunks::<2>();
            for (word, y) in words.iter().zip(out) {
                *y = f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16);
            }
        },
        Dtype::F16 => decode_f16,
        Dtype::F64 => |bytes, out| {
            let (words, _) = bytes.as_chunks::<8>();
            words
                .iter()
                .zip(out)
                .for_each(|(word, y)| *y = f64::from_le_bytes(*word) as f32);
        },
        _ => return None,
    };
    let n_bytes = dtype.n_bytes();
    let mut values = vec![0.0; bytes.len() / n_bytes];
    values
        .par_chunks_mut(CHUNK)
        .zip(bytes.par_chunks(CHUNK * n_bytes))
        .for_each(|(out, bytes)| convert(bytes, out));
    Some(values)
}

/// Through an aligned buffer, so that `half` can use the processor's own conversion.
fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    let (words, _) = bytes.as_chunks::<2>();
    let mut aligned = [f16::ZERO; 512];
    for (words, out) in words
        .chunks(aligned.len())
        .zip(out.chunks_mut(aligned.len()))
    {
        for (word, x) in words.iter().zip(&mut aligned) {
            *x = f16::from_le_bytes(*word);
        }
        aligned[..words.len()].convert_to_f32_slice(out);
    }
}

/// The bytes of a weight in `F32`, `F16` or `BF16`.
///
/// # Errors
/// For another dtype, or a value that is not finite or too large for it.
pub(crate) fn encode_weight(
    name: &str,
    dtype: Dtype,
    values: &[f32],
) -> Result<Vec<u8>, CheckpointError> {
    let name = || name.to_owned();
    let Some(encoded) = encode(dtype, values) else {
        let (name, found) = (name(), dtype);
        return Err(WriteError::Dtype { name, found }.into());
    };
    encoded.map_err(|misfit| match misfit {
        Misfit::NotFinite { index, value } => CheckpointError::NotFinite {
            name: name(),
            index,
            value,
        },
        Misfit::Overflow { index, value } => CheckpointError::Overflow {
            name: name(),
            index,
            value,
            dtype,
        },
    })
}

/// A value that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Misfit {
    /// Infinite or not a number.
    NotFinite { index: usize, value: f32 },
    /// Finite, but infinite in the target dtype.
    Overflow { index: usize, value: f32 },
}

/// The little-endian bytes of `values`, or the first value that does not fit.
/// `None` for a dtype in which weights are not written.
pub(crate) fn encode(dtype: Dtype, values: &[f32]) -> Option<Result<Vec<u8>, Misfit>> {
    let (convert, limit): (Encode, f32) = match dtype {
        Dtype::F32 => (encode_f32, f32::INFINITY),
        // The first value that rounds away from the largest finite one.
        Dtype::F16 => (encode_f16, 65520.0),
        Dtype::BF16 => (encode_bf16, f32::from_bits(0x7f7f_8000)),
        _ => return None,
    };
    Some(match first_misfit(values, limit) {
        Some(misfit) => Err(misfit),
        None => {
            let n_bytes = dtype.n_bytes();
            let mut bytes = vec![0; values.len() * n_bytes];
            bytes
                .par_chunks_mut(CHUNK * n_bytes)
                .zip(values.par_chunks(CHUNK))
                .for_each(|(out, values)| convert(values, out));
            Ok(bytes)
        }
    })
}

/// Whether all values are below `limit` in magnitude (NaN is not); the first that is not.
fn first_misfit(values: &[f32], limit: f32) -> Option<Misfit> {
    let fits = |x: f32| x.abs() < limit;
    let chunk = values
        .par_chunks(CHUNK)
        .position_first(|chunk| !chunk.iter().all(|x| fits(*x)))?;
    let begin = chunk * CHUNK;
    let index = begin + values[begin..].iter().position(|x| !fits(*x))?;
    let value = values[index];
    Some(if value.is_finite() {
        Misfit::Overflow { index, value }
    } else {
        Misfit::NotFinite { index, value }
    })
}

fn encode_f32(values: &[f32], out: &mut [u8]) {
    let (words, _) = out.as_chunks_mut::<4>();
    words
        .iter_mut()
        .zip(values)
        .for_each(|(word, x)| *word = x.to_le_bytes());
}

fn encode_f16(values: &[f32], out: &mut [u8]) {
    let (words, _) = out.as_chunks_mut::<2>();
    let mut rounded = [f16::ZERO; 512];
    for (words, values) in words
        .chunks_mut(rounded.len())
        .zip(values.chunks(rounded.len()))
    {
        rounded[..values.len()].convert_from_f32_slice(values);
        words
            .iter_mut()
            .zip(&rounded)
            .for_each(|(word, x)| *word = x.to_le_bytes());
    }
}

/// Finite values only: adding to the bits of a NaN could turn it into a number.
fn encode_bf16(values: &[f32], out: &mut [u8]) {
    let (words, _) = out.as_chunks_mut::<2>();
    for (word, x) in words.iter_mut().zip(values) {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        *word = (rounded as u16).to_le_bytes();
    }
}

#[cfg(test)]
mod tests;
