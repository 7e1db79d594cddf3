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
mod attention;
mod attention_backward;
mod backward;
mod float_panel;
mod float_tile;
mod gemm;
mod int_panel;
mod int_tile;
mod level;
mod math;
mod nll;
mod outer;
mod pack;
mod panel_matrix;
mod parallel;
mod rms_norm;
mod rope;
mod simd;
mod swiglu;

pub use aligned::AlignedBuffer;
pub use allocator::keep_freed_memory;
pub use attention::attend_and_sum;
pub use attention::{AttentionShape, KvPage, Segment, attend};
pub use attention_backward::{AttentionGradient, attend_backward};
pub use backward::{rms_norm_backward, swiglu_apart, swiglu_backward};
pub use level::{SimdLevel, UnknownSimdLevel};
pub use nll::nll_of_logits;
pub use nll::softmax_rows;
pub use outer::add_outer;
pub use panel_matrix::{Columns, MatmulScratch, PanelFormat, PanelMatrix, Start};
pub use parallel::{for_each, n_threads};
pub use rms_norm::rms_norm;
pub use rope::rotate_back;
pub use rope::{RotaryTable, rotate};
pub use swiglu::swiglu;

#[cfg(test)]
mod tests;
