#![doc = include_str!("../README.md")]

mod batch;
mod blocks;
mod bpe_train;
mod chat_example;
mod chat_template;
mod clean;
mod decode_stream;
mod decontaminate;
mod dedup;
mod document;
mod error;
mod example;
mod fast_encoder;
pub mod filter;
mod instruction;
mod labelled;
mod loader;
mod mixture;
mod packed_batch;
mod packing;
mod padded;
mod permutation;
mod reader;
mod recipe;
mod record;
mod selection;
mod shuffle;
mod source;
mod token_shards;
mod tokenizer;
mod tokenizer_statistics;
mod tokenizer_training;
mod truncation;
mod writer;

pub use batch::{Batch, BatchSource, BatchStatistics};
pub use blocks::{BlockBatches, BlockConfig, block_batches};
pub use bpe_train::train_byte_level_bpe;
pub use chat_example::{encode_chat, encode_chat_after};
pub use chat_template::{CHATML_TEMPLATE, ChatTemplate};
pub use clean::{
    CleanError, CleanJob, CleanProgress, CleanReport, CleanStage, Histogram, clean,
    clean_work_folder, in_order,
};
pub use decode_stream::DecodeStream;
pub use decontaminate::{
    ContaminatedAction, ContaminatedBySet, ContaminatedDocument, Contamination,
    DecontaminateConfig, DecontaminateError, DecontaminateReport, EvaluationIndex,
};
pub use dedup::{
    BandHashes, CheckConfig, CheckedPair, CheckedPairs, Clusters, DedupConfig, DedupError,
    DedupReport, DocumentFacts, Duplicate, Duplicates, Find, Fingerprint, Fingerprinter, KeepRule,
    MinHashConfig, MinHasher, Signature, Simplification, UnicodeForm, deduplicate,
};
pub use document::Document;
pub use error::{DataError, Place, PlaceUnit};
pub use example::{Example, IGNORE_LABEL, encode_record, encode_text};
pub use fast_encoder::{EncodingPath, FallbackReason, FastEncoder, FlatEncoding};
pub use instruction::{
    Instruction, InstructionError, InstructionFormat, Preference, PreferencePair,
    encode_instruction, encode_preference, read_preferences,
};
pub use labelled::{LabelledText, read_labelled};
pub use loader::{
    ExampleSource, Loader, LoaderConfig, LoaderError, LoaderState, LoaderStatistics, Prefetch,
    RankShard, RowLayout, SourceState, WeightedSource,
};
pub use mixture::{Mixture, Turn};
pub use packed_batch::{PackedBatch, PackedBatches, PackedConfig, packed_batches};
pub use packing::{PackWindows, PackingError, best_fit_decreasing, pack_windows};
pub use padded::{PaddedBatches, PaddedConfig, padded_batches};
pub use permutation::Permutation;
pub use reader::{
    BlockRecords, JsonlReader, MedlineReader, ReadOptions, Records, list_files, read_records,
    read_records_with,
};
pub use recipe::{InputConfig, OutputConfig, RECIPE_VERSION, Recipe, RecipeError};
pub use record::{Message, Record, TextRecord};
pub use selection::{Selection, Split, every_nth, split_held_out};
pub use shuffle::Order;
pub use source::{
    AbstractStyle, Block, Blocks, BrokenCount, BrokenLimit, BrokenReason, BrokenRecord,
    Compression, Documents, FieldNames, Format, SourceError, SourceOptions, Sources,
};
pub use token_shards::{
    HeaderFault, ShardConfig, ShardEntry, ShardError, ShardHeader, ShardManifest, TokenBlocks,
    TokenShard, TokenShardWriter, TokenShards, TokenSlice, Vocabulary,
};
pub use tokenizer::Tokenizer;
pub use tokenizer_statistics::{TokenizerStatistics, tokenizer_statistics};
pub use tokenizer_training::{
    ChineseSplit, TokenizerModel, TokenizerTraining, TokenizerTrainingError, WordSplit,
};
pub use truncation::{Truncation, TruncationStatistics};
pub use writer::{
    Chunk, ChunkMaker, RecordWriter, SealedChunk, WriteError, WriteOptions, Written,
    append_json_line,
};
