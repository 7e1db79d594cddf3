//! Kernels for GPUs in CubeCL, one operation a file: compiled at run time to WGSL, SPIR-V or CUDA.
//!
//! They take f32 tensors on a GPU. For tensors on other devices, of other types, and for empty ones,
//! most give `None`, and the caller runs the ordinary tensor operations. Every result is summed in
//! one fixed order; no kernel adds atomically.

mod adamw;
mod attention;
mod attention_backward;
mod attention_forward;
mod attention_tile;
mod cube;
mod op;
mod packed;
mod packed_linear;
mod rms_norm;
mod rope;
mod softmax_nll;
mod swiglu;
#[cfg(all(test, any(feature = "wgpu", feature = "vulkan")))]
mod tests;

pub(crate) use adamw::{adamw_step, takes_adamw_step};
pub(crate) use attention::rotary_attention;
pub(crate) use op::is_gpu_f32;
pub(crate) use packed::GpuPacked;
pub(crate) use packed_linear::packed_linear;
pub(crate) use rms_norm::rms_norm;
pub(crate) use softmax_nll::softmax_nll;
pub(crate) use swiglu::swiglu;
