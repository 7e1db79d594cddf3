//! A tokenizer: text to token ids and back.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokenizers::tokenizer::Tokenizer as HfTokenizer;
use tokenizers::{ModelWrapper, PostProcessorWrapper};

use crate::fast_encoder::{BufferPool, FallbackReason, FastEncoder, Pipeline, analyse};
use crate::{DataError, DecodeStream, error::Source};

mod token_bytes;

/// A Hugging Face `tokenizer.json`, ready to use.
///
/// Special tokens written in a text (`<|im_end|>`) are recognised; none are added, because chat
/// templates write their own ([`Tokenizer::encode_document`] is for texts without one). Truncation and
/// padding stored in the file are ignored: batching is the caller's. Clones share one vocabulary.
#[derive(Clone)]
pub struct Tokenizer {
    shared: Arc<Shared>,
    document_prefix: Vec<u32>,
}

struct Shared {
    tokenizer: HfTokenizer,
    json: Vec<u8>,
    vocab_size: usize,
    has_byte_fallback: bool,
    is_byte_level: bool,
    /// Taken out of the tokenizer, which would apply it to every text.
    post_processor: Option<PostProcessorWrapper>,
    /// For [`FastEncoder`], built when first asked for.
    pipeline: OnceLock<Result<Pipeline, FallbackReason>>,
    buffers: BufferPool,
}

/// Token ids with the range of text, in bytes, that each came from.
pub(crate) struct Encoding {
    pub(crate) ids: Vec<u32>,
    pub(crate) ranges: Vec<Range<usize>>,
}

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`DataError::LoadTokenizer`] if they are not one.
    pub fn from_json(json: &[u8]) -> Result<Self, DataError> {
        Self::from_named_json(json, "memory")
    }

    /// Reads a `tokenizer.json` file.
    ///
    /// # Errors
    /// [`DataError::Open`] if it cannot be read, [`DataError::LoadTokenizer`] if it is not a
    /// tokenizer.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let json = std::fs::read(path).map_err(|source| DataError::Open {
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_named_json(&json, &path.display().to_string())
    }

    fn from_named_json(json: &[u8], origin: &str) -> Result<Self, DataError> {
        let load_error = |source: Source| DataError::LoadTokenizer {
            origin: origin.to_string(),
            source,
        };
        let mut tokenizer = HfTokenizer::from_bytes(json).map_err(load_error)?;
        tokenizer.with_truncation(None).map_err(load_error)?;
        tokenizer.with_padding(None);
        let document_prefix = document_prefix(&tokenizer);
        // Without added tokens a post-processor only trims blanks off the ranges, which the loss
        // masks need whole.
        let post_processor = tokenizer.get_post_processor().cloned();
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);

        let largest_id = tokenizer.get_vocab(true).into_values().max();
        let decoder = serde_json::to_string(&tokenizer.get_decoder())
            .map_err(|error| load_error(error.into()))?;
        Ok(Self {
            document_prefix,
            shared: Arc::new(Shared {
                vocab_size: largest_id.map_or(0, |id| id as usize + 1),
                has_byte_fallback: decoder.contains("\"ByteFallback\""),
                is_byte_level: decoder.contains("\"ByteLevel\""),
                json: json.to_vec(),
                post_processor,
                pipeline: OnceLock::new(),
                buffers: BufferPool::default(),
                tokenizer,
            }),
        })
    }

    /// The token ids of a text.
    ///
    /// # Errors
    /// [`DataError::Encode`] if the model has no token for a part of it (byte-level tokenizers
    /// always have one).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .shared
            .tokenizer
            .encode_fast(text, false)
            .map_err(|source| DataError::Encode {
                n_bytes: text.len(),
                source,
            })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The token ids of a text that stands alone, behind the mark that the model was trained to see
    /// before one (a BOS), if it was. Not for rendered chat templates, which write their own.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_document(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let mut ids = self.document_prefix.clone();
        ids.extend(self.encode(text)?);
        Ok(ids)
    }

    /// [`Tokenizer::encode_document`] for many texts, on all threads and through [`FastEncoder`].
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], for the first of the texts that cannot be encoded.
    pub fn encode_documents<T>(&self, texts: &[T]) -> Result<Vec<Vec<u32>>, DataError>
    where
        T: AsRef<str> + Sync,
    {
        FastEncoder::of_documents(self).encode_batch(texts)
    }

    /// Sets what [`Tokenizer::encode_document`] puts before a text. Unless set, it is what the
    /// post-processor of the `tokenizer.json` puts there.
    #[must_use]
    pub fn with_document_prefix(mut self, ids: Vec<u32>) -> Self {
        self.document_prefix = ids;
        self
    }

    /// What [`Tokenizer::encode_document`] puts before a text.
    pub fn document_prefix(&self) -> &[u32] {
        &self.document_prefix
    }

    /// A closure over a [`DecodeStream`]: each id gives the text that became certain with it, `None`
    /// ends the stream and gives the rest.
    pub fn decoder(&self, skip_special: bool) -> impl FnMut(Option<u32>) -> String + Send + use<> {
        let mut stream = Some(self.decode_stream(skip_special));
        move |id| match id {
            Some(id) => stream
                .as_mut()
                .and_then(|stream| stream.push(id))
                .unwrap_or_default(),
            None => stream.take().map(DecodeStream::finish).unwrap_or_default(),
        }
    }

    pub(crate) fn encode_with_ranges(&self, text: &str) -> Result<Encoding, DataError> {
        let encoding = self
            .shared
            .tokenizer
            .encode(text, false)
            .map_err(|source| DataError::Encode {
                n_bytes: text.len(),
                source,
            })?;
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            ranges: encoding
                .get_offsets()
                .iter()
                .map(|&(start, end)| start..end)
                .collect(),
        })
    }

    /// The text of token ids. Ids outside the vocabulary give nothing; bytes that are not UTF-8
    /// give U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        self.shared
            .tokenizer
            .decode(ids, skip_special)
            .unwrap_or_else(|_| {
                // A decoder that cannot join these tokens: their own text is the best there is.
                let tokens = ids
                    .iter()
                    .filter(|&&id| !(skip_special && self.is_special(id)));
                tokens.filter_map(|&id| self.id_to_token(id)).collect()
            })
    }

    /// Decodes token by token, for text that is shown as it is generated.
    #[must_use]
    pub fn decode_stream(&self, skip_special: bool) -> DecodeStream {
        DecodeStream::new(self.clone(), skip_special)
    }

    /// The largest token id plus one: the least number of rows an embedding needs.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.shared.vocab_size
    }

    /// How many tokens there are, added ones counted; less than [`Tokenizer::vocab_size`] where ids are
    /// left out.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.shared.tokenizer.get_vocab_size(true)
    }

    /// The id that stands for what the model does not know, if it has one.
    #[must_use]
    pub fn unknown_token_id(&self) -> Option<u32> {
        let token = match self.shared.tokenizer.get_model() {
            ModelWrapper::BPE(model) => model.unk_token.clone(),
            ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
            ModelWrapper::Unigram(model) => {
                let json = serde_json::to_value(model).ok()?;
                return u32::try_from(json["unk_id"].as_u64()?).ok();
            }
        };
        self.token_to_id(&token?)
    }

    /// The id of a token, by its exact text in the vocabulary.
    #[must_use]
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.shared.tokenizer.token_to_id(token)
    }

    /// The vocabulary's text of an id (byte-level tokenizers write a space as `Ġ`).
    #[must_use]
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.shared.tokenizer.id_to_token(id)
    }

    /// Whether an id is a special token, one that `skip_special` leaves out.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.shared.tokenizer.get_added_vocabulary();
        self.id_to_token(id)
            .is_some_and(|token| added.is_special_token(&token))
    }

    /// The bytes of the `tokenizer.json` that this was read from.
    #[must_use]
    pub fn to_json(&self) -> &[u8] {
        &self.shared.json
    }

    /// What the `tokenizer.json` puts around texts, which [`Tokenizer::encode`] does not.
    pub(crate) fn post_processor(&self) -> Option<&PostProcessorWrapper> {
        self.shared.post_processor.as_ref()
    }

    /// The steps of this tokenizer, or why they are not known.
    pub(crate) fn pipeline(&self) -> Result<&Pipeline, &FallbackReason> {
        let analyse = || analyse(&self.shared.tokenizer, &self.shared.json);
        self.shared.pipeline.get_or_init(analyse).as_ref()
    }

    /// Memory for encoding, shared by all clones.
    pub(crate) fn buffers(&self) -> &BufferPool {
        &self.shared.buffers
    }

    /// Whether an id is one raw byte (`<0xE4>`) whose run only decodes as a whole.
    pub(crate) fn is_fallback_byte(&self, id: u32) -> bool {
        self.shared.has_byte_fallback
            && self
                .id_to_token(id)
                .is_some_and(|token| token_bytes::fallback_byte(&token).is_some())
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.shared.vocab_size)
            .finish()
    }
}

/// The special tokens that the post-processor puts before a text.
fn document_prefix(tokenizer: &HfTokenizer) -> Vec<u32> {
    let Ok(encoding) = tokenizer.encode("a", true) else {
        return Vec::new(); // A vocabulary without the letter.
    };
    let marks = encoding.get_special_tokens_mask().iter();
    let n_marks = marks.take_while(|is_mark| **is_mark == 1).count();
    // A tokenizer that does not know the letter gives marks alone, of which only the first stands
    // before the text.
    let n_marks = if n_marks == encoding.len() {
        n_marks.min(1)
    } else {
        n_marks
    };
    encoding.get_ids()[..n_marks].to_vec()
}

#[cfg(test)]
mod tests;
