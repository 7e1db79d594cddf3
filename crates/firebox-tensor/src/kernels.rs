//! Fused operations, each beside the ordinary operations that it equals.

mod linear;
mod pool;

pub use linear::linear;
pub use pool::{in_pool, is_cpu};
