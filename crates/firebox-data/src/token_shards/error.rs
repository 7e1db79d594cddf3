//! What can go wrong with token shards.

use std::io;
use std::path::PathBuf;

/// Everything that writing and reading token shards can report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// A file cannot be read.
    #[error("read token shard `{path}` (hint: does it exist, and may you read it?)")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write token shard `{path}` (hint: is there space, and may you write there?)")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is not a token shard, or a damaged one.
    #[error("open token shard `{path}`: {fault}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: HeaderFault,
    },
    /// The contents are not those that were written.
    #[error(
        "verify token shard `{path}`: expected checksum {expected:016x}, found {found:016x} (hint: \
         the file is damaged: copy it again, or encode again)"
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// From the header.
        expected: u64,
        /// Of the contents.
        found: u64,
    },
    /// The index of documents is damaged.
    #[error(
        "read document {document} of token shard `{path}`: expected its tokens between 0 and \
         {n_tokens}, found them from {start} to {end} (hint: the file is damaged: copy it again, or \
         encode again)"
    )]
    Offsets {
        /// The file.
        path: PathBuf,
        /// Number of the document in this file, from 0.
        document: u64,
        /// Tokens in this file.
        n_tokens: u64,
        /// Where the index says that it begins.
        start: u64,
        /// Where the index says that it ends.
        end: u64,
    },
    /// The file was changed while it was open.
    #[error(
        "read token shard `{path}`: expected the file as it was opened, found another size or time \
         (hint: write new shards into another folder)"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// No such document.
    #[error("read document {document}: expected a number below {n_documents} (hint: count from 0)")]
    NoDocument {
        /// What was asked for.
        document: u64,
        /// How many there are.
        n_documents: u64,
    },
    /// The tokens are those of another tokenizer.
    #[error(
        "open token shards `{path}`: expected tokens of the tokenizer with vocabulary hash \
         {expected_hash:016x} and {expected_size} ids, found hash {found_hash:016x} and {found_size} \
         ids (hint: use the tokenizer that the shards were encoded with, or encode again)"
    )]
    OtherTokenizer {
        /// The file or folder.
        path: PathBuf,
        /// The hash of the tokenizer given.
        expected_hash: u64,
        /// The size of its vocabulary.
        expected_size: u64,
        /// The hash in the file.
        found_hash: u64,
        /// The size in the file.
        found_size: u64,
    },
    /// The list of shards does not parse.
    #[error("read `{path}` (hint: is it the whole list that the writer left?)")]
    Manifest {
        /// The list.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The folder has no list of shards.
    #[error(
        "open token shards `{folder}`: expected a file `shards.json`, found none (hint: the writer \
         leaves it when it is done: was it interrupted?)"
    )]
    NoManifest {
        /// The folder.
        folder: PathBuf,
    },
    /// A shard is not the one that the list names.
    #[error(
        "open token shard `{path}`: expected {what} {expected} as in `shards.json`, found {found} \
         (hint: files of two runs are mixed: encode into an empty folder)"
    )]
    OtherShard {
        /// The shard, or the list.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// In the list.
        expected: String,
        /// In the file.
        found: String,
    },
    /// The folder is taken.
    #[error(
        "write token shards to `{folder}`: expected a folder without `shards.json`, found one (hint: \
         choose another folder, or remove the old shards)"
    )]
    FolderTaken {
        /// The folder.
        folder: PathBuf,
    },
    /// A token that the vocabulary does not have.
    #[error(
        "write document {document}: expected token ids below {vocab_size}, found {id} (hint: were \
         the texts encoded with another tokenizer?)"
    )]
    IdOutOfRange {
        /// Number of the document, from 0.
        document: u64,
        /// The id.
        id: u32,
        /// Ids in the vocabulary.
        vocab_size: u64,
    },
    /// Labels that the format cannot hold.
    #[error(
        "write document {document}: expected each label to be its own token or `IGNORE_LABEL`, found \
         {found} (hint: encode with `encode_chat` or `encode_text`)"
    )]
    Labels {
        /// Number of the document, from 0.
        document: u64,
        /// What is there.
        found: String,
    },
    /// A mask that would be lost.
    #[error(
        "write document {document}: expected loss on every token, found a mask (hint: set \
         `with_loss_mask`)"
    )]
    MaskNotKept {
        /// Number of the document, from 0.
        document: u64,
    },
    /// A setting out of its range.
    #[error("use token shards: expected `{name}` of at least 1, found 0 (hint: set it)")]
    ZeroSize {
        /// The setting.
        name: &'static str,
    },
    /// A tokenizer whose file does not parse.
    #[error("hash the vocabulary (hint: is this a tokenizer.json?)")]
    Vocabulary {
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

/// What is wrong with the first bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Too short to have a header.
    #[error(
        "expected at least {expected} bytes, found {found} (hint: the file is truncated: copy it \
         again)"
    )]
    TooShort {
        /// Bytes of a header.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// Another kind of file.
    #[error(
        "expected a token shard, found a file that begins with {found:?} (hint: check the path)"
    )]
    Magic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// A format of the future.
    #[error("expected format version {expected}, found {found} (hint: use a newer firebox)")]
    Version {
        /// The version that is known.
        expected: u32,
        /// The file's.
        found: u32,
    },
    /// Bytes of the header were changed.
    #[error(
        "expected header checksum {expected:016x}, found {found:016x} (hint: the file is damaged: \
         copy it again)"
    )]
    Checksum {
        /// As written.
        expected: u64,
        /// As computed.
        found: u64,
    },
    /// A value that no writer leaves.
    #[error("expected {name} {expected}, found {found} (hint: which program wrote this file?)")]
    Value {
        /// The field.
        name: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        found: u64,
    },
    /// More or fewer bytes than the header announces.
    #[error(
        "expected {expected} bytes for {n_documents} documents of {n_tokens} tokens, found {found} \
         (hint: the file is truncated or joined with another: copy it again)"
    )]
    Length {
        /// As the header says.
        expected: u128,
        /// Bytes of the file.
        found: u64,
        /// Documents in the header.
        n_documents: u64,
        /// Tokens in the header.
        n_tokens: u64,
    },
}
