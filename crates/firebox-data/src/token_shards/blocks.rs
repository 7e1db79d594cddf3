//! Token shards as sources of the loader: documents, or blocks of one length.

use std::sync::Arc;

use super::{ShardError, TokenShards};
use crate::error::Source;
use crate::{Example, ExampleSource};

/// The documents of token shards, one an example.
impl ExampleSource for TokenShards {
    fn n_examples(&self) -> usize {
        self.n_documents() as usize
    }

    fn example(&self, index: usize) -> Result<Example, Source> {
        Ok(self.document(index as u64)?.to_example())
    }

    fn fingerprint(&self) -> u64 {
        self.contents_hash()
    }
}

impl ExampleSource for Arc<TokenShards> {
    fn n_examples(&self) -> usize {
        self.as_ref().n_examples()
    }

    fn example(&self, index: usize) -> Result<Example, Source> {
        self.as_ref().example(index)
    }

    fn fingerprint(&self) -> u64 {
        self.as_ref().fingerprint()
    }
}

/// The tokens of shards cut into blocks of one length, across documents and files: no padding, and
/// what remains after the last whole block is left out.
#[derive(Debug, Clone)]
pub struct TokenBlocks {
    shards: Arc<TokenShards>,
    block_len: usize,
}

impl TokenBlocks {
    /// Blocks of `block_len` tokens.
    ///
    /// # Errors
    /// [`ShardError::ZeroSize`].
    pub fn new(shards: Arc<TokenShards>, block_len: usize) -> Result<Self, ShardError> {
        if block_len == 0 {
            return Err(ShardError::ZeroSize { name: "block_len" });
        }
        Ok(Self { shards, block_len })
    }

    /// Tokens after the last whole block.
    #[must_use]
    pub fn n_dropped_tokens(&self) -> usize {
        (self.shards.n_tokens() % self.block_len as u64) as usize
    }
}

impl ExampleSource for TokenBlocks {
    fn n_examples(&self) -> usize {
        (self.shards.n_tokens() / self.block_len as u64) as usize
    }

    fn example(&self, index: usize) -> Result<Example, Source> {
        let start = index as u64 * self.block_len as u64;
        Ok(self.shards.tokens(start..start + self.block_len as u64)?)
    }

    fn fingerprint(&self) -> u64 {
        self.shards.contents_hash() ^ self.block_len as u64
    }
}
