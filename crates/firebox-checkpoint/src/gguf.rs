//! The GGUF format: metadata, tensor list and block-quantized data, versions 2 and 3.
//!
//! Source: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod blocks;
mod cursor;
mod file;
mod kind;
pub(crate) mod model;
mod value;
mod writer;

pub use file::{Gguf, GgufTensor};
pub use kind::GgmlType;
pub use model::write_gguf;
pub use value::{GgufArray, GgufValue};

#[cfg(test)]
pub(crate) mod test_file;
#[cfg(test)]
mod tests;
