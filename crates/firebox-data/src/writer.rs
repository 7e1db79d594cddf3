//! Documents as files: JSON Lines, compressed or not, and Parquet.
//!
//! A [`RecordWriter`] is one file that appears whole or not at all. Documents reach it as [`Chunk`]s,
//! which any thread can fill and seal (serializing and compressing there); the writer only puts them
//! one behind the other, so the file depends on the order of the chunks and on nothing else.

mod atomic;
mod chunk;
mod error;
mod json_line;
#[cfg(feature = "parquet")]
mod parquet;
mod record_writer;

pub use chunk::{Chunk, ChunkMaker, SealedChunk};
pub use error::WriteError;
pub use json_line::append_json_line;
pub use record_writer::{RecordWriter, WriteOptions, Written};

#[cfg(test)]
mod tests;
