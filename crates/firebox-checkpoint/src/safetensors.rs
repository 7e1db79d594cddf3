//! The safetensors format: a length, a JSON header, and the bytes of the tensors one after another.
//!
//! Source: <https://huggingface.co/docs/safetensors>, "Format".

mod header;
mod json;
mod shards;

pub(crate) use header::{PlannedTensor, header_bytes};
pub use header::{SafetensorsHeader, TensorEntry};
pub(crate) use shards::Shards;

#[cfg(test)]
mod tests;
