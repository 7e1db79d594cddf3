//! Kernels on slices in this CPU's memory: what decoding, prefill and training spend their time in.
//!
//! Each kernel is written once over one vocabulary of vector operations and compiled for every
//! [`SimdLevel`]; which one runs is chosen at run time. Every row that a kernel computes has the
//! same bits whatever the batch, the chunking, the cache's pages and the number of threads: each
//! output is summed in one fixed order, and only whole outputs are handed to threads. Levels differ
//! from one another in the last bits.
//!
//! Weights are laid out once, when they are loaded, in panels of neighbouring outputs (see
//! [`PanelMatrix`]), so that a vector holds one input of several outputs.

#![expect(
    clippy::too_many_arguments,
    reason = "the innermost functions take their operands one by one"
)]

mod activations;
mod aligned;
mod allocator;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod attention_backward;
mod attention_task;
mod attention_tiles;
mod bf16_dot;
#[cfg(any(test, feature = "burn"))]
mod bf16_products;
mod block_panel;
mod bucketize;
mod code_planes;
mod dense_panel;
mod encoder_attention;
#[cfg(any(test, feature = "burn"))]
mod f32_products;
mod few_rows;
mod filled;
mod float_matmul;
mod float_panel;
mod float_tile;
mod gelu;
mod gemm;
mod hadamard;
mod int8_dot;
mod int8_rows;
mod int_matmul;
mod int_panel;
mod int_tile;
mod k_panel;
mod kv_element;
mod kv_form;
mod kv_format;
mod kv_int4;
mod kv_page;
mod kv_write;
mod layer_norm;
mod left_rows;
mod level;
mod math;
mod nf4_dot;
mod nf4_tile;
mod nll;
mod pack;
mod panel_matrix;
mod parallel;
mod q6_k_panel;
mod region;
mod rms_norm;
mod roofline;
mod rope;
#[cfg(any(test, feature = "burn"))]
mod row_weights;
mod running_softmax;
mod simd;
mod stored;
mod swiglu;
mod team;
mod turn;

pub use aligned::AlignedBuffer;
pub use allocator::{keep_freed_memory, return_freed_memory};
pub use attention::{Segment, attend, attend_and_sum};
pub use attention_backward::{AttentionGradient, attend_backward};
pub use encoder_attention::{EncoderRows, attend_within};
pub use few_rows::few_rows;
pub use filled::{copied, zeros};
pub use gelu::gelu;
pub use kv_format::{KvFormat, UnknownKvFormat};
pub use kv_page::{AttentionShape, KvPage};
pub use kv_write::write_pages;
pub use layer_norm::LayerNorm;
pub use level::{SimdLevel, UnknownSimdLevel};
pub use nll::softmax_nll;
pub use panel_matrix::{Columns, MatmulScratch, PanelFormat, PanelMatrix, Start, WeightRows};
pub use parallel::{for_each, n_threads};
pub use region::Arena;
pub use rms_norm::{rms_norm, rms_norm_backward};
pub use roofline::Roofline;
pub use rope::{RotaryTable, rotate, rotate_back};
pub use swiglu::{swiglu, swiglu_apart, swiglu_backward};
pub use team::in_team;

#[cfg(feature = "burn")]
pub(crate) use bf16_products::{bf16_add_outer, bf16_matmul, bf16_matmul_transposed, bf16_outer};
pub(crate) use bucketize::bucketize;
#[cfg(feature = "burn")]
pub(crate) use f32_products::{
    add_matmul, add_matmul_transposed, add_outer, matmul, matmul_transposed, outer,
};
#[cfg(all(test, feature = "cpu"))]
pub(crate) use level::test_turn;
pub(crate) use simd::{Kernel, Simd, dispatch};

#[cfg(test)]
mod tests;
