//! Fused operations, each beside the ordinary operations that it equals.

mod linear;

pub use linear::linear;
