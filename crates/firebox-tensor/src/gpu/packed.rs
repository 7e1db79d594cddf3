//! A packed weight on a device: codes of 4 or 8 bits in 32-bit words, since WGSL has no smaller
//! type, and one scale for each run of codes.

use burn::backend::Cube;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use half::f16;

use super::op::GpuTensor;
use crate::packed::{
    FP4_CODEBOOK, NF4_BLOCK_SIZE, NF4_CODEBOOK, PackedFormat, PackedMatrix, Q4_0_BLOCK_BYTES,
    Q8_0_BLOCK_BYTES,
};

/// Elements of a block of ggml's.
const GGML_BLOCK: usize = 32;

/// What a code means, known when a kernel is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Codes {
    /// Indices of 16 values, the first in the lowest bits.
    Nibbles,
    /// Signed bytes.
    Bytes,
}

/// A weight `[out, in]`, flattened row by row.
#[derive(Debug, Clone)]
pub(crate) struct GpuPacked {
    pub(super) codes: Codes,
    pub(super) n_out: usize,
    pub(super) n_in: usize,
    /// Elements that share a scale.
    pub(super) block: usize,
    pub(super) words: GpuTensor,
    pub(super) scales: GpuTensor,
    /// What the nibbles stand for, before scaling.
    pub(super) codebook: GpuTensor,
    device: Device,
}

impl GpuPacked {
    /// Copies a weight to a device; `None` when that is no GPU, or the format has no kernel.
    pub(crate) fn new(matrix: &PackedMatrix, device: &Device) -> Option<Self> {
        let (n_out, n_in) = (matrix.n_rows(), matrix.n_cols());
        if n_out == 0 || n_in == 0 {
            return None;
        }
        let part = |name| matrix.parts().into_iter().find(|part| part.name == name);
        let (codes, block, bytes, scales) = match matrix.format() {
            PackedFormat::Nf4
            | PackedFormat::Nf4DoubleQuant
            | PackedFormat::Fp4
            | PackedFormat::Fp4DoubleQuant => {
                let bytes = part("codes")?.bytes.iter().map(|byte| byte.rotate_left(4));
                let scales = matrix.codebook4_scales()?;
                (Codes::Nibbles, NF4_BLOCK_SIZE, bytes.collect(), scales)
            }
            PackedFormat::Int8Rowwise => {
                let absmax = bytemuck::pod_collect_to_vec::<u8, f32>(part("absmax")?.bytes);
                let scales = absmax.iter().map(|absmax| absmax / 127.0).collect();
                (Codes::Bytes, n_in, part("codes")?.bytes.to_vec(), scales)
            }
            PackedFormat::Q8_0 => {
                let (bytes, scales) = q8_0(part("blocks")?.bytes);
                (Codes::Bytes, GGML_BLOCK, bytes, scales)
            }
            PackedFormat::Q4_0 => {
                let (bytes, scales) = q4_0(part("blocks")?.bytes);
                (Codes::Nibbles, GGML_BLOCK, bytes, scales)
            }
            _ => return None,
        };
        let codebook = match matrix.format() {
            PackedFormat::Q4_0 => std::array::from_fn(|code| code as f32 - 8.0),
            PackedFormat::Fp4 | PackedFormat::Fp4DoubleQuant => FP4_CODEBOOK,
            _ => NF4_CODEBOOK,
        };
        Some(Self {
            codes,
            n_out,
            n_in,
            block,
            words: words(bytes, device)?,
            scales: floats(scales, device)?,
            codebook: floats(codebook.to_vec(), device)?,
            device: device.clone(),
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

fn words(mut bytes: Vec<u8>, device: &Device) -> Option<GpuTensor> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let (words, _) = bytes.as_chunks();
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let shape = [words.len()];
    let words = Tensor::<1, Int>::from_data(TensorData::new(words, shape), (device, DType::U32));
    words.try_into_primitive::<Cube>().ok()
}

fn floats(values: Vec<f32>, device: &Device) -> Option<GpuTensor> {
    let shape = [values.len()];
    let values = Tensor::<1>::from_data(TensorData::new(values, shape), (device, DType::F32));
    values.try_into_primitive::<Cube>().ok()
}

/// Bytes and scales of ggml's blocks.
fn q8_0(blocks: &[u8]) -> (Vec<u8>, Vec<f32>) {
    let (blocks, _) = blocks.as_chunks::<Q8_0_BLOCK_BYTES>();
    let bytes = blocks.iter().flat_map(|block| block[2..].to_vec());
    (bytes.collect(), blocks.iter().map(|b| scale(b)).collect())
}

/// The same for nibbles: ggml has elements `i` and `i + 16` in one byte, we have neighbours.
fn q4_0(blocks: &[u8]) -> (Vec<u8>, Vec<f32>) {
    let (blocks, _) = blocks.as_chunks::<Q4_0_BLOCK_BYTES>();
    let bytes = blocks.iter().flat_map(|block| {
        let code = |i: usize| (block[2 + i % 16] >> (i / 16 * 4)) & 15;
        (0..16).map(move |i| code(2 * i) | code(2 * i + 1) << 4)
    });
    (bytes.collect(), blocks.iter().map(|b| scale(b)).collect())
}

/// The f16 that a block begins with.
fn scale(block: &[u8]) -> f32 {
    f16::from_le_bytes([block[0], block[1]]).to_f32()
}
