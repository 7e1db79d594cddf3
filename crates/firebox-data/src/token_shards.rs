//! Token shards: an encoded corpus on disk, mapped into memory.

mod blocks;
mod error;
mod header;
mod manifest;
mod map;
mod shard;
mod token_slice;
mod vocabulary;
mod writer;

use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::Example;

use shard::check_vocabulary;

pub use blocks::TokenBlocks;
pub use error::{HeaderFault, ShardError};
pub use header::ShardHeader;
pub use manifest::{ShardEntry, ShardManifest};
pub use shard::TokenShard;
pub use token_slice::TokenSlice;
pub use vocabulary::Vocabulary;
pub use writer::{ShardConfig, TokenShardWriter};

/// The shards of a folder as one list of documents.
///
/// # Examples
/// ```
/// use firebox_data::{ShardConfig, TokenShardWriter, TokenShards, Vocabulary, train_byte_level_bpe};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let tokenizer = train_byte_level_bpe(["Water is wet."], 300, &[])?;
/// let vocabulary = Vocabulary::of(&tokenizer)?;
/// let mut writer = TokenShardWriter::create(folder.path(), vocabulary, ShardConfig::default())?;
/// writer.push_ids(&tokenizer.encode("Water is wet.")?)?;
/// writer.finish()?;
///
/// let shards = TokenShards::open(folder.path(), &vocabulary)?;
/// assert_eq!(tokenizer.decode(&shards.document(0)?.to_ids(), false), "Water is wet.");
///
/// let other = train_byte_level_bpe(["Fire is hot."], 300, &[])?;
/// assert!(TokenShards::open(folder.path(), &Vocabulary::of(&other)?).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TokenShards {
    shards: Vec<TokenShard>,
    /// Documents before each shard, and all.
    documents_before: Vec<u64>,
    /// Tokens before each shard, and all.
    tokens_before: Vec<u64>,
}

impl TokenShards {
    /// Opens the shards of a folder, whose ids must be those of a tokenizer. Headers and lengths are
    /// checked, contents only by [`verify`](Self::verify).
    ///
    /// # Errors
    /// [`ShardError::NoManifest`], [`ShardError::Manifest`], [`ShardError::OtherShard`],
    /// [`ShardError::OtherTokenizer`], and those of [`TokenShard::open`].
    pub fn open(folder: impl AsRef<Path>, vocabulary: &Vocabulary) -> Result<Self, ShardError> {
        let shards = Self::inspect(&folder)?;
        for shard in &shards.shards {
            check_vocabulary(folder.as_ref(), vocabulary, &shard.header().vocabulary)?;
        }
        Ok(shards)
    }

    /// Opens the shards of a folder, of whatever tokenizer, to look at them.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for the tokenizer.
    pub fn inspect(folder: impl AsRef<Path>) -> Result<Self, ShardError> {
        let folder = folder.as_ref();
        let manifest = ShardManifest::read(folder)?;
        let mut all = Self {
            shards: Vec::with_capacity(manifest.shards.len()),
            documents_before: vec![0],
            tokens_before: vec![0],
        };
        for entry in &manifest.shards {
            let shard = TokenShard::inspect(folder.join(&entry.file))?;
            check_entry(&shard, entry, &manifest)?;
            all.documents_before
                .push(all.n_documents() + shard.header().n_documents);
            all.tokens_before
                .push(all.n_tokens() + shard.header().n_tokens);
            all.shards.push(shard);
        }
        Ok(all)
    }

    /// The files.
    #[must_use]
    pub fn shards(&self) -> &[TokenShard] {
        &self.shards
    }

    /// How many documents there are.
    #[must_use]
    pub fn n_documents(&self) -> u64 {
        self.documents_before.last().copied().unwrap_or(0)
    }

    /// How many tokens there are.
    #[must_use]
    pub fn n_tokens(&self) -> u64 {
        self.tokens_before.last().copied().unwrap_or(0)
    }

    /// The tokens of a document, counted from 0 over all files, where they lie.
    ///
    /// # Errors
    /// As [`TokenShard::document`].
    pub fn document(&self, document: u64) -> Result<TokenSlice<'_>, ShardError> {
        let n_documents = self.n_documents();
        if document >= n_documents {
            return Err(ShardError::NoDocument {
                document,
                n_documents,
            });
        }
        let shard = self
            .documents_before
            .partition_point(|&before| before <= document)
            - 1;
        self.shards[shard].document(document - self.documents_before[shard])
    }

    /// The tokens at some places, counted from 0 over all files, with their labels; fewer where they
    /// end.
    ///
    /// # Errors
    /// [`ShardError::Changed`].
    pub fn tokens(&self, range: Range<u64>) -> Result<Example, ShardError> {
        let mut example = Example::default();
        let end = range.end.min(self.n_tokens());
        let mut shard = self
            .tokens_before
            .partition_point(|&before| before <= range.start);
        let mut start = range.start;
        while start < end {
            let (before, after) = (self.tokens_before[shard - 1], self.tokens_before[shard]);
            let tokens = self.shards[shard - 1].tokens(start - before..end.min(after) - before)?;
            tokens.append_to(&mut example);
            start = end.min(after);
            shard += 1;
        }
        Ok(example)
    }

    /// Reads all files and compares their checksums.
    ///
    /// # Errors
    /// As [`TokenShard::verify`].
    pub fn verify(&self) -> Result<(), ShardError> {
        self.shards.iter().try_for_each(TokenShard::verify)
    }

    /// A hash of all contents: that of the files' checksums and lengths.
    fn contents_hash(&self) -> u64 {
        let headers = self.shards.iter().map(TokenShard::header);
        let numbers = headers.flat_map(|it| [it.checksum, it.n_tokens, it.n_documents]);
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        xxh3_64(&bytes)
    }
}

/// Whether a shard is the one that its folder's list means.
fn check_entry(
    shard: &TokenShard,
    entry: &ShardEntry,
    manifest: &ShardManifest,
) -> Result<(), ShardError> {
    let header = shard.header();
    let hash = format!("{:016x}", header.vocabulary.hash);
    let checksum = format!("{:016x}", header.checksum);
    let facts = [
        ("a vocabulary hash of", manifest.vocab_hash.clone(), hash),
        ("a checksum of", entry.checksum.clone(), checksum),
    ];
    let counts = [
        (
            "a vocabulary size of",
            manifest.vocab_size,
            header.vocabulary.size,
        ),
        ("a document count of", entry.n_documents, header.n_documents),
        ("a token count of", entry.n_tokens, header.n_tokens),
    ];
    let counts =
        counts.map(|(what, expected, found)| (what, expected.to_string(), found.to_string()));
    let mut all = facts.into_iter().chain(counts);
    match all.find(|(_, expected, found)| expected != found) {
        None => Ok(()),
        Some((what, expected, found)) => Err(ShardError::OtherShard {
            path: shard.path().to_path_buf(),
            what,
            expected,
            found,
        }),
    }
}

#[cfg(test)]
mod tests;
