#![doc = include_str!("../README.md")]

mod batch;
mod blocks;
mod bpe_train;
mod chat_example;
mod chat_template;
mod decode_stream;
mod document;
mod error;
mod example;
mod padded;
mod reader;
mod record;
mod selection;
mod shuffle;
mod tokenizer;

pub use batch::{Batch, BatchSource, BatchStatistics};
pub use blocks::{BlockBatches, BlockConfig, block_batches};
pub use bpe_train::train_byte_level_bpe;
pub use chat_example::encode_chat;
pub use chat_template::{CHATML_TEMPLATE, ChatTemplate};
pub use decode_stream::DecodeStream;
pub use document::Document;
pub use error::{DataError, Place, PlaceUnit};
pub use example::{Example, IGNORE_LABEL, encode_record, encode_text};
pub use padded::{PaddedBatches, PaddedConfig, padded_batches};
pub use reader::{
    JsonlReader, MedlineReader, ReadOptions, Records, list_files, read_records, read_records_with,
};
pub use record::{Message, Record, TextRecord};
pub use selection::{Selection, Split, every_nth, split_held_out};
pub use shuffle::Order;
pub use tokenizer::Tokenizer;
