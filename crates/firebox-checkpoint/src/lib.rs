#![doc = include_str!("../README.md")]

mod adapter;
mod atomic;
mod bitsandbytes;
mod checkpoint;
mod convert;
mod dtype;
mod encoding;
mod error;
mod gguf;
mod hf_writer;
mod int4_words;
mod mapped;
mod near_names;
mod packed_layout;
mod safetensors;
mod side_files;
mod state_file;
mod weight_file;

pub use adapter::{Adapter, AdapterConfig, TargetModules, read_adapter, write_adapter};
pub use atomic::{AtomicDir, AtomicFile, write_atomic};
pub use checkpoint::{Checkpoint, HostTensor, Storage};
pub use convert::convert;
pub use dtype::Dtype;
pub use error::{CheckpointError, Fault, Item, ModelError, ParseError, WriteError};
pub use gguf::{GgmlType, Gguf, GgufArray, GgufTensor, GgufValue, write_gguf};
pub use hf_writer::HfWriter;
pub use packed_layout::PackedLayout;
pub use safetensors::{SafetensorsHeader, TensorEntry};
pub use state_file::{StateEntry, StateFile, StateFileWriter, StateValues};
