//! Packing documents into blocks of one length: no padding, no document left out.

use serde::{Deserialize, Serialize};

use crate::batch::locate;
use crate::shuffle::EpochOrder;
use crate::{Batch, BatchSource, DataError, Example, Order};

/// How documents become blocks and blocks become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockConfig {
    /// Written after every document; the end-of-text token as a rule.
    pub separator_id: u32,
    /// Tokens in a block.
    pub block_len: usize,
    /// Blocks in a batch; the last batch of an epoch may have fewer.
    pub batch_size: usize,
    /// In which order an epoch visits the blocks.
    #[serde(default)]
    pub order: Order,
}

/// Batches of blocks; see [`block_batches`].
#[derive(Debug)]
pub struct BlockBatches {
    ids: Vec<u32>,
    config: BlockConfig,
    epochs: EpochOrder,
    n_dropped_tokens: usize,
}

/// Concatenates documents, each followed by the separator, and cuts the stream into blocks.
///
/// Loss is taken on every token. What remains after the last whole block is dropped and counted.
/// A block may begin in the middle of a document and holds parts of several: attention crosses
/// their boundaries, as in GPT-2's training.
///
/// # Errors
/// [`DataError::ZeroSize`], or [`DataError::NoBatches`] if there are fewer tokens than one block
/// has.
///
/// # Examples
/// ```
/// use firebox_data::{BatchSource, BlockConfig, Order, block_batches};
///
/// # fn main() -> Result<(), firebox_data::DataError> {
/// let config = BlockConfig { separator_id: 0, block_len: 3, batch_size: 2, order: Order::InOrder };
/// let batches = block_batches([vec![5, 6], vec![7, 8, 9]], &config)?;
/// assert_eq!(batches.batch(0).input_ids, [[5, 6, 0], [7, 8, 9]]);
/// assert_eq!(batches.n_dropped_tokens(), 1); // the last separator
/// # Ok(())
/// # }
/// ```
pub fn block_batches<I>(documents: I, config: &BlockConfig) -> Result<BlockBatches, DataError>
where
    I: IntoIterator,
    I::Item: AsRef<[u32]>,
{
    for (name, size) in [
        ("block_len", config.block_len),
        ("batch_size", config.batch_size),
    ] {
        if size == 0 {
            return Err(DataError::ZeroSize { name });
        }
    }
    let mut ids = Vec::new();
    let mut n_documents = 0;
    for document in documents {
        ids.extend_from_slice(document.as_ref());
        ids.push(config.separator_id);
        n_documents += 1;
    }
    let n_blocks = ids.len() / config.block_len;
    if n_blocks == 0 {
        return Err(DataError::NoBatches {
            unit: format!("block of {} tokens", config.block_len),
            n_inputs: n_documents,
            n_tokens: ids.len(),
        });
    }
    let n_dropped_tokens = ids.len() - n_blocks * config.block_len;
    ids.truncate(n_blocks * config.block_len);
    let epochs = EpochOrder::new(n_blocks, config.order);
    Ok(BlockBatches {
        ids,
        config: *config,
        epochs,
        n_dropped_tokens,
    })
}

impl BlockBatches {
    /// How many blocks there are.
    #[must_use]
    pub fn n_blocks(&self) -> usize {
        self.ids.len() / self.config.block_len
    }

    /// One block, in the order of the documents.
    ///
    /// # Panics
    /// If `index` is not below [`n_blocks`](Self::n_blocks).
    #[must_use]
    pub fn block(&self, index: usize) -> &[u32] {
        &self.ids[index * self.config.block_len..(index + 1) * self.config.block_len]
    }

    /// Tokens after the last whole block, separators included.
    #[must_use]
    pub fn n_dropped_tokens(&self) -> usize {
        self.n_dropped_tokens
    }
}

impl BatchSource for BlockBatches {
    fn n_batches(&self) -> usize {
        self.n_blocks().div_ceil(self.config.batch_size)
    }

    fn batch(&self, step: u64) -> Batch {
        let (epoch, places) = locate(step, self.n_blocks(), self.config.batch_size);
        let blocks = self.epochs.items(epoch, places);
        let examples: Vec<Example> = blocks
            .iter()
            .map(|&index| Example::from_ids(self.block(index).to_vec()))
            .collect();
        Batch::pad(&examples, self.config.separator_id)
    }
}

#[cfg(test)]
mod tests;
