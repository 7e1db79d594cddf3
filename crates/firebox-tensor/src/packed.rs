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
//! | [`PackedFormat::Fp4`], [`PackedFormat::Fp4DoubleQuant`] | 4.5, 4.127 | the same | as NF4 | bitsandbytes |
//! | [`PackedFormat::Int8Rowwise`] | 8 | one row | f32 `absmax` | LLM.int8(), section 2 |
//! | [`PackedFormat::Q8_0`] | 8.5 | 32 along a row | f16 | ggml |
//! | [`PackedFormat::Q4_0`] | 4.5 | 32 along a row | f16 | ggml |
//! | [`PackedFormat::Q4_1`] | 5 | 32 along a row | f16, and an f16 minimum | ggml |
//! | [`PackedFormat::Q5_0`], [`PackedFormat::Q5_1`], [`PackedFormat::Q5K`] | 5.5, 6, 5.5 | as Q4_0, Q4_1, Q4_K | the same | ggml |
//! | [`PackedFormat::Q6K`] | 6.5625 | 16 along a row | 8 bits; an f16 above sixteen blocks | ggml |
//! | [`PackedFormat::Int4`] | 4.25 to 4.625 | 32, 64 or 128 along a row | f16, and a zero point of 4 bits or none | GPTQ, AWQ |
//! | [`PackedFormat::Q4K`] | 4.5 | 32 along a row | 6 bits, and 6 of a minimum; two f16 above eight blocks | ggml |

mod block_rounding;
mod codebook4;
mod dot;
mod double_quant;
mod error;
mod format;
mod fp4;
mod ggml;
mod grid;
mod half_quadratic;
mod int4;
mod int8;
mod k_search;
mod k_super_block;
mod limits;
mod matrix;
mod nf4;
mod part;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;

pub(crate) use codebook4::Codebook4;
pub use codebook4::NF4_BLOCK_SIZE;
pub use double_quant::dynamic_codebook;
pub use error::PackError;
pub use format::{PackedFormat, UnknownPackedFormat};
pub use fp4::FP4_CODEBOOK;
pub use grid::BlockGrid;
pub(crate) use grid::finite_f16;
pub(crate) use int4::Group as Int4Group;
pub use int4::Int4Groups;
pub use int8::{INT8_OUTLIERS_FROM, round_activations};
pub(crate) use k_super_block::{Groups, nibble};
pub use matrix::PackedMatrix;
pub(crate) use matrix::RawRow;
pub use nf4::NF4_CODEBOOK;
pub use part::{PackedPart, PartDtype};
pub use q4_0::{Q4_0_BLOCK_BYTES, dequantize_q4_0, quantize_q4_0};
pub use q4_1::{Q4_1_BLOCK_BYTES, dequantize_q4_1, quantize_q4_1};
pub use q4_k::{Q4_K_BLOCK_BYTES, dequantize_q4_k, quantize_q4_k};
pub(crate) use q5_0::read_codes as q5_codes;
pub use q5_0::{Q5_0_BLOCK_BYTES, dequantize_q5_0, quantize_q5_0};
pub use q5_1::{Q5_1_BLOCK_BYTES, dequantize_q5_1, quantize_q5_1};
pub use q5_k::{Q5_K_BLOCK_BYTES, dequantize_q5_k, quantize_q5_k};
pub(crate) use q6_k::Q6KBlock;
pub use q6_k::{Q6_K_BLOCK_BYTES, dequantize_q6_k, quantize_q6_k};
pub use q8_0::{Q8_0_BLOCK_BYTES, dequantize_q8_0, quantize_q8_0};

/// Elements in one ggml block (Q8_0, Q4_0, Q4_1).
pub const GGML_BLOCK_SIZE: usize = 32;

/// Elements in one block of ggml's K quants, which holds eight or sixteen groups.
pub const K_BLOCK_SIZE: usize = 256;
