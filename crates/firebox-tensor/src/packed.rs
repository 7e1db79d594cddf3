//! Packed weights: a matrix stored in 4 or 8 bits per element, and the plain reference that
//! packs, unpacks and multiplies it.
//!
//! A weight is always `[out, in]`, row-major, PyTorch's layout. Quantized weights are frozen:
//! nothing here has a gradient.
//!
//! | format | bits per weight | block | scale | source |
//! |---|---|---|---|---|
//! | [`PackedFormat::Nf4`] | 4.5 | 64 along the flattened weight | f32 `absmax` | QLoRA, section 3 |
//! | [`PackedFormat::Nf4DoubleQuant`] | 4.127 | the same | 8-bit code, nested blocks of 256 | QLoRA, section 3 |
//! | [`PackedFormat::Int8Rowwise`] | 8 | one row | f32 `absmax` | LLM.int8(), section 2 |
//! | [`PackedFormat::Q8_0`] | 8.5 | 32 along a row | f16 | ggml |
//! | [`PackedFormat::Q4_0`] | 4.5 | 32 along a row | f16 | ggml |
//! | [`PackedFormat::Q4_1`] | 5 | 32 along a row | f16, and an f16 minimum | ggml |

mod block_rounding;
mod dot;
mod double_quant;
mod error;
mod format;
mod ggml;
mod int8;
mod limits;
mod matrix;
mod nf4;
mod part;
mod q4_0;
mod q4_1;
mod q8_0;

pub use double_quant::dynamic_codebook;
pub use error::PackError;
pub use format::{PackedFormat, UnknownPackedFormat};
pub use matrix::PackedMatrix;
pub(crate) use matrix::RawRow;
pub use nf4::{NF4_BLOCK_SIZE, NF4_CODEBOOK};
pub use part::{PackedPart, PartDtype};
pub use q4_0::{Q4_0_BLOCK_BYTES, dequantize_q4_0, quantize_q4_0};
pub use q4_1::{Q4_1_BLOCK_BYTES, dequantize_q4_1, quantize_q4_1};
pub use q8_0::{Q8_0_BLOCK_BYTES, dequantize_q8_0, quantize_q8_0};

/// Elements in one ggml block (Q8_0, Q4_0, Q4_1).
pub const GGML_BLOCK_SIZE: usize = 32;
