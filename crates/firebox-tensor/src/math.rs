//! Reference math: the formulas of the field on burn tensors, written to be read.
//!
//! Nothing here is fused or chunked. Fast code elsewhere is tested against it. Everything is made
//! of ordinary tensor operations, so that burn differentiates it on an autodiff device, but for
//! [`symmetric_eigen`] and [`Pca`], which compute in f64 on the CPU.

mod attention;
mod cross_entropy;
mod eigen;
mod pca;
mod softmax;

pub use attention::{AttentionMask, scaled_dot_product_attention};
pub use cross_entropy::{IGNORED_TARGET, cross_entropy, cross_entropy_grad};
pub use eigen::{SymmetricEigen, symmetric_eigen};
pub use pca::Pca;
pub use softmax::{log_sum_exp, softmax};
