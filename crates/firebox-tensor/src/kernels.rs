//! Fused operations, each beside the ordinary operations that it equals.

pub(crate) mod adamw;
pub(crate) mod attention;
mod embedding;
#[cfg(feature = "cpu")]
mod flex_op;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub(crate) mod fused_op;
mod gradient_source;
mod linear;
mod lora_linear;
mod on_gradient;
mod outer;
mod packed_linear;
mod pool;
mod precision;
pub(crate) mod rms_norm;
pub(crate) mod softmax_nll;
pub(crate) mod swiglu;
#[cfg(all(test, feature = "cpu"))]
mod tests;

pub use adamw::{AdamWFactors, adamw_step};
pub use attention::{RotaryAttention, rotary_attention};
pub use embedding::{add_rows, embedding};
pub use gradient_source::gradient_source;
pub use linear::linear;
pub use lora_linear::{LoraPath, lora_linear, unpacked_lora_linear};
pub use on_gradient::{GradientHook, on_gradient};
pub use outer::{add_outer, outer, product};
pub use packed_linear::{PackedOnDevice, Unpack, unpacked, unpacked_linear};
pub use pool::{in_pool, is_cpu};
pub use precision::{MatmulPrecision, UnknownPrecision};
pub use rms_norm::rms_norm;
pub use softmax_nll::{SoftmaxNll, softmax_nll};
pub use swiglu::swiglu;
