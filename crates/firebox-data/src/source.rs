//! Files as blocks of whole records: the fast way in.
//!
//! [`Sources`] says which files; [`Blocks`] reads them, one after another, into [`Block`]s of about
//! one size that end where records do. Parsing is left to [`Block::documents`], which can run on any
//! thread. What a block holds depends on the file and the options alone.

mod block;
mod blocks;
mod boundary;
mod broken;
mod buffer;
mod csv;
mod cutter;
mod error;
mod file_blocks;
mod files;
mod format;
mod input;
mod json_messages;
mod json_object;
mod json_values;
mod jsonl;
mod medline;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod sources;

pub use block::{Block, Documents};
pub use blocks::Blocks;
pub use broken::{BrokenCount, BrokenLimit};
pub use error::{BrokenReason, BrokenRecord, SourceError};
pub use format::{Compression, Format};
pub use options::{AbstractStyle, FieldNames, SourceOptions};
pub use sources::Sources;

pub(crate) use block::BlockFile;
pub(crate) use boundary::{Boundary, opens_set};
pub(crate) use buffer::BufferPool;
pub(crate) use cutter::{Cutter, Sizes};
pub(crate) use files::{files_of, is_known};
pub(crate) use json_object::{JsonFields, field_names, parse_object};
pub(crate) use jsonl::{Line, Lines};
pub(crate) use medline::{CitationDocuments, MedlinePiece};

#[cfg(test)]
mod tests;
