//! Encoding corpora: the ids of the `tokenizers` crate, much faster.

mod added_tokens;
mod analysis;
mod bpe_analysis;
mod buffer_pool;
mod char_class;
mod fallback_reason;
mod marks;
mod merges;
mod model;
mod normalizer;
mod pipeline;
mod safe_cuts;
mod scanner;
mod symbols;
mod word_cache;
mod words;

use std::ops::Range;

use rayon::prelude::*;

use crate::{DataError, Tokenizer};

use marks::Marks;
use pipeline::Buffers;

pub(crate) use analysis::analyse;
pub(crate) use bpe_analysis::char_bytes;
pub(crate) use buffer_pool::BufferPool;
pub use fallback_reason::FallbackReason;
pub(crate) use pipeline::Pipeline;
pub(crate) use scanner::{LLAMA3_PATTERN, QWEN2_PATTERN};

/// Bytes of text that one thread encodes before it asks for more.
const CHUNK_BYTES: usize = 1 << 18;

/// Encodes many texts, on all threads, to the ids that the `tokenizers` crate gives.
///
/// Byte-level BPE with the split patterns of GPT-2, SmolLM2, Llama 3 and Qwen2 (and of those that share
/// them), and BPE over characters with Metaspace or byte fallback, as Llama 2, are encoded here: words
/// are found without a regex engine, merged on integer ids, and remembered in a bounded cache. Every
/// other tokenizer is left to the `tokenizers` crate; [`FastEncoder::path`] says which it is. Neither
/// the number of threads nor what was encoded before changes an id.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), firebox_data::DataError> {
/// use firebox_data::{EncodingPath, FastEncoder, train_byte_level_bpe};
///
/// let tokenizer = train_byte_level_bpe(["the cat and the dog", "猫和狗"], 280, &[])?;
/// let encoder = FastEncoder::from_tokenizer(&tokenizer);
/// assert_eq!(encoder.path(), EncodingPath::Fast);
///
/// let texts = ["the dog", "狗和猫"];
/// let batch = encoder.encode_flat(&texts)?;
/// assert_eq!(batch.text(0), tokenizer.encode(texts[0])?);
/// assert_eq!(batch.text(1), tokenizer.encode(texts[1])?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FastEncoder {
    tokenizer: Tokenizer,
    marks: Marks,
}

/// Who encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodingPath<'a> {
    /// The code of this module.
    Fast,
    /// The `tokenizers` crate.
    Fallback(&'a FallbackReason),
}

/// The ids of many texts, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatEncoding {
    /// The ids of all texts.
    pub ids: Vec<u32>,
    /// Where each text starts in `ids`, and their length: one more than there are texts.
    pub offsets: Vec<usize>,
}

impl FlatEncoding {
    /// How many texts there are.
    #[must_use]
    pub fn n_texts(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The ids of one text.
    ///
    /// # Panics
    /// If there is no text of this index.
    #[must_use]
    pub fn text(&self, index: usize) -> &[u32] {
        &self.ids[self.offsets[index]..self.offsets[index + 1]]
    }
}

impl FastEncoder {
    /// An encoder of a tokenizer. What it is made of is built once per tokenizer and shared. No special
    /// tokens are added to texts, as in [`Tokenizer::encode`].
    #[must_use]
    pub fn from_tokenizer(tokenizer: &Tokenizer) -> Self {
        Self {
            tokenizer: tokenizer.clone(),
            marks: Marks::default(),
        }
    }

    /// Whether the special tokens of the tokenizer's post-processor (a BOS, an EOS, `[CLS]` and `[SEP]`)
    /// are put around each text: `add_special_tokens` in Python.
    #[must_use]
    pub fn with_special_tokens(mut self, adds: bool) -> Self {
        self.marks = match adds {
            true => Marks::of_post_processor(self.tokenizer.post_processor()),
            false => Marks::default(),
        };
        self
    }

    /// The encoder of documents: each text behind the tokenizer's document prefix.
    pub(crate) fn of_documents(tokenizer: &Tokenizer) -> Self {
        Self {
            tokenizer: tokenizer.clone(),
            marks: Marks::before(tokenizer.document_prefix().to_vec()),
        }
    }

    /// Who encodes the texts of this tokenizer.
    #[must_use]
    pub fn path(&self) -> EncodingPath<'_> {
        match self.tokenizer.pipeline() {
            Ok(_) => EncodingPath::Fast,
            Err(reason) => EncodingPath::Fallback(reason),
        }
    }

    /// Appends the ids of one text, on this thread.
    ///
    /// # Errors
    /// [`DataError::Encode`] if the model has no token for a part of the text.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), DataError> {
        self.with_buffers(|buffers| self.push_ids(text, buffers, ids))
    }

    /// The ids of each text, on all threads.
    ///
    /// # Errors
    /// As [`FastEncoder::encode_into`], for the first of the texts that cannot be encoded.
    pub fn encode_batch<T>(&self, texts: &[T]) -> Result<Vec<Vec<u32>>, DataError>
    where
        T: AsRef<str> + Sync,
    {
        let chunks = self.encode_chunks(texts, |chunk, buffers| {
            let (mut ids, mut batch) = (Vec::new(), Vec::with_capacity(chunk.len()));
            for text in chunk {
                ids.clear();
                self.push_ids(text.as_ref(), buffers, &mut ids)?;
                batch.push(ids.clone());
            }
            Ok(batch)
        })?;
        Ok(chunks.into_iter().flatten().collect())
    }

    /// The ids of all texts in one list, on all threads; [`FastEncoder::encode_batch`] without a list a
    /// text.
    ///
    /// # Errors
    /// As [`FastEncoder::encode_batch`].
    pub fn encode_flat<T>(&self, texts: &[T]) -> Result<FlatEncoding, DataError>
    where
        T: AsRef<str> + Sync,
    {
        let chunks = self.encode_chunks(texts, |chunk, buffers| {
            let n_bytes: usize = chunk.iter().map(|text| text.as_ref().len()).sum();
            let mut ids = Vec::with_capacity(n_bytes / 2);
            let mut ends = Vec::with_capacity(chunk.len());
            for text in chunk {
                self.push_ids(text.as_ref(), buffers, &mut ids)?;
                ends.push(ids.len());
            }
            Ok((ids, ends))
        })?;
        let n_ids = chunks.iter().map(|(ids, _)| ids.len()).sum();
        let mut flat = FlatEncoding {
            ids: Vec::with_capacity(n_ids),
            offsets: Vec::with_capacity(texts.len() + 1),
        };
        flat.offsets.push(0);
        for (ids, ends) in chunks {
            let start = flat.ids.len();
            flat.ids.extend_from_slice(&ids);
            flat.offsets.extend(ends.iter().map(|end| start + end));
        }
        Ok(flat)
    }

    /// Encodes runs of texts on all threads; the results are in the order of the texts.
    fn encode_chunks<T, R>(
        &self,
        texts: &[T],
        encode: impl Fn(&[T], &mut Buffers) -> Result<R, DataError> + Sync,
    ) -> Result<Vec<R>, DataError>
    where
        T: AsRef<str> + Sync,
        R: Send,
    {
        let chunks: Vec<Result<R, DataError>> = chunks(texts)
            .into_par_iter()
            .map(|range| self.with_buffers(|buffers| encode(&texts[range], buffers)))
            .collect();
        chunks.into_iter().collect()
    }

    fn push_ids(
        &self,
        text: &str,
        buffers: &mut Buffers,
        ids: &mut Vec<u32>,
    ) -> Result<(), DataError> {
        self.marks.push_around(ids, |ids| {
            match self.tokenizer.pipeline() {
                // Positions within a word are kept in 32 bits.
                Ok(pipeline) if u32::try_from(text.len()).is_ok() => {
                    pipeline.push_ids(text, buffers, ids);
                }
                _ => ids.extend(self.tokenizer.encode(text)?),
            }
            Ok(())
        })
    }

    /// Lends the memory that some thread has used before, with what its cache holds.
    fn with_buffers<R>(&self, work: impl FnOnce(&mut Buffers) -> R) -> R {
        let pool = self.tokenizer.buffers();
        let mut buffers = pool.take().unwrap_or_default();
        let result = work(&mut buffers);
        pool.give_back(buffers);
        result
    }
}

/// Consecutive texts of about [`CHUNK_BYTES`] together.
fn chunks<T: AsRef<str>>(texts: &[T]) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut n_bytes) = (0, 0);
    for (index, text) in texts.iter().enumerate() {
        n_bytes += text.as_ref().len();
        if n_bytes >= CHUNK_BYTES {
            chunks.push(start..index + 1);
            (start, n_bytes) = (index + 1, 0);
        }
    }
    if start < texts.len() {
        chunks.push(start..texts.len());
    }
    chunks
}

#[cfg(test)]
mod tests;
