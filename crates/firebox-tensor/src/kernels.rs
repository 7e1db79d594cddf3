//! Fused operations, each beside the ordinary operations that it equals.

mod attention;
#[cfg(feature = "cpu")]
mod flex_op;
mod linear;
mod pool;
mod rms_norm;
mod softmax_nll;
mod swiglu;
#[cfg(all(test, feature = "cpu"))]
mod tests;

pub use attention::rotary_attention;
pub use linear::linear;
pub use pool::{in_pool, is_cpu};
pub use rms_norm::rms_norm;
pub use softmax_nll::{SoftmaxNll, softmax_nll};
pub use swiglu::swiglu;
