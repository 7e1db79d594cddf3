//! Texts to vectors: a tokenizer, an encoder, and what sentence-transformers puts behind it.

mod error;
mod folder;
mod pooling;

use std::path::Path;
use std::sync::Mutex;

use firebox_checkpoint::Checkpoint;
use firebox_data::{FastEncoder, Tokenizer};
use firebox_model::{EncoderBuffers, HostBert, HostWeights};

pub use self::error::EmbedError;
pub use self::pooling::Pooling;

use self::folder::Folder;

/// Rows of a pass, about: what lies between two layers stays in the caches, and whoever else needs
/// the threads waits less.
const PASS_ROWS: usize = 512;

/// A sentence embedding model on the CPU.
///
/// A text's vector has the same bits whatever is embedded with it.
///
/// Source: Reimers and Gurevych (2019), <https://arxiv.org/abs/1908.10084>.
#[derive(Debug)]
pub struct TextEmbedder {
    model: HostBert,
    tokenizer: Tokenizer,
    encoder: FastEncoder,
    /// What the tokenizer puts behind a text; it stays there when the text is cut.
    suffix: Vec<u32>,
    /// Special tokens around a text.
    n_marks: usize,
    pooling: Pooling,
    normalizes: bool,
    lowercases: bool,
    max_tokens: usize,
    buffers: Mutex<EncoderBuffers>,
}

impl TextEmbedder {
    /// Loads a folder of sentence-transformers, or a BERT checkpoint, which gets mean pooling and
    /// vectors of length 1.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the model is of another kind than BERT with mean or
    /// `[CLS]` pooling.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, EmbedError> {
        Self::load_with(path, HostWeights::Stored)
    }

    /// As [`Self::load`], the projections in this form: 8 bits (`q8_0`) are faster, and vectors are
    /// a little off.
    ///
    /// # Errors
    /// As [`Self::load`], and when the weights cannot be packed in the form.
    pub fn load_with(path: impl AsRef<Path>, weights: HostWeights) -> Result<Self, EmbedError> {
        let folder = Folder::read(path.as_ref())?;
        let checkpoint = Checkpoint::open(&folder.transformer)?;
        let json = checkpoint.tokenizer_json()?;
        let json = json.ok_or_else(|| EmbedError::File {
            path: folder.transformer.join("tokenizer.json"),
            what: "expected a tokenizer beside the weights, found none".into(),
            hint: "point to the model's folder",
        })?;
        let tokenizer = Tokenizer::from_json(&json)?;
        let model = HostBert::load(&checkpoint, weights)?;
        Self::new(model, tokenizer, &folder)
    }

    fn new(model: HostBert, tokenizer: Tokenizer, folder: &Folder) -> Result<Self, EmbedError> {
        let vocab_size = model.config().vocab_size;
        if tokenizer.vocab_size() > vocab_size {
            return Err(EmbedError::VocabSize {
                model: vocab_size,
                tokenizer: tokenizer.vocab_size(),
            });
        }
        let encoder = FastEncoder::from_tokenizer(&tokenizer).with_special_tokens(true);
        let mut marks = Vec::new();
        encoder.encode_into("", &mut marks)?;
        let n_before = tokenizer.document_prefix().len().min(marks.len());
        let positions = model.config().max_seq_len;
        let max_tokens = folder.max_tokens.unwrap_or(positions).min(positions);
        if max_tokens <= marks.len() {
            return Err(EmbedError::File {
                path: folder.transformer.clone(),
                what: format!("expected room for a text, found {max_tokens} tokens"),
                hint: "`max_seq_length` in sentence_bert_config.json is usually 256 or 512",
            });
        }
        Ok(Self {
            suffix: marks[n_before..].to_vec(),
            n_marks: marks.len(),
            pooling: folder.pooling,
            normalizes: folder.normalizes,
            lowercases: folder.lowercases,
            max_tokens,
            buffers: Mutex::default(),
            model,
            tokenizer,
            encoder,
        })
    }

    /// Numbers of a vector.
    pub fn dim(&self) -> usize {
        self.model.config().d_model
    }

    /// Tokens of the longest text, special ones counted.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Special tokens around each text.
    pub fn n_special_tokens(&self) -> usize {
        self.n_marks
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The encoder.
    pub fn model(&self) -> &HostBert {
        &self.model
    }

    /// The vectors of texts, `[texts, dim]`, each cut to [`Self::max_tokens`].
    ///
    /// # Errors
    /// [`EmbedError::Data`] for a text that cannot be encoded.
    pub fn embed<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut ids = self.encode(texts)?;
        for ids in &mut ids {
            self.truncate(ids, self.max_tokens);
        }
        let all = self.embed_ids(&ids, || true)?;
        Ok(all.unwrap_or_default())
    }

    /// The ids of texts, special tokens around each; of any length.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn encode<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<Vec<u32>>, EmbedError> {
        if self.lowercases {
            let lower: Vec<String> = texts.iter().map(|t| t.as_ref().to_lowercase()).collect();
            return Ok(self.encoder.encode_batch(&lower)?);
        }
        Ok(self.encoder.encode_batch(texts)?)
    }

    /// Cuts a text to `n_tokens`, special ones counted; the one at its end stays there.
    pub fn truncate(&self, ids: &mut Vec<u32>, n_tokens: usize) {
        if ids.len() <= n_tokens {
            return;
        }
        let ends = ids.ends_with(&self.suffix) && self.suffix.len() <= n_tokens;
        let suffix: &[u32] = if ends { &self.suffix } else { &[] };
        ids.truncate(n_tokens - suffix.len());
        ids.extend_from_slice(suffix);
    }

    /// The vectors of texts that are ids already, `[texts, dim]`; `None` when `goes_on` said no, which
    /// is asked every few hundred tokens.
    ///
    /// # Errors
    /// [`EmbedError::TooLong`] and those of [`HostBert::forward`].
    pub fn embed_ids(
        &self,
        texts: &[Vec<u32>],
        goes_on: impl Fn() -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>, EmbedError> {
        for (index, text) in texts.iter().enumerate() {
            self.check_len(index, text)?;
        }
        // Texts of one length together: tasks of one size.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(texts[i].len()));
        let mut vectors = vec![Vec::new(); texts.len()];
        // What a panic left behind is overwritten.
        let mut buffers = self
            .buffers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut rest = &order[..];
        while !rest.is_empty() {
            if !goes_on() {
                return Ok(None);
            }
            let (pass, others) = rest.split_at(n_of_pass(rest, texts));
            rest = others;
            let ids: Vec<&[u32]> = pass.iter().map(|&i| texts[i].as_slice()).collect();
            let mut hidden = self.model.forward(&ids, &mut buffers)?;
            for &i in pass {
                let (rows, next) = hidden.split_at(texts[i].len() * self.dim());
                hidden = next;
                vectors[i] = self.pooling.pool(rows, self.dim());
                if self.normalizes {
                    normalize(&mut vectors[i]);
                }
            }
        }
        Ok(Some(vectors))
    }

    /// A text fits.
    ///
    /// # Errors
    /// [`EmbedError::TooLong`] names the text by `index`.
    pub fn check_len(&self, index: usize, ids: &[u32]) -> Result<(), EmbedError> {
        match ids.len() {
            n_tokens if n_tokens > self.max_tokens => Err(EmbedError::TooLong {
                index,
                n_tokens,
                max_tokens: self.max_tokens,
            }),
            _ => Ok(()),
        }
    }
}

/// How many of the texts in `order` are computed at once: one at least.
fn n_of_pass(order: &[usize], texts: &[Vec<u32>]) -> usize {
    let mut n_rows = 0;
    let fits = |&&i: &&usize| {
        n_rows += texts[i].len();
        n_rows <= PASS_ROWS
    };
    order.iter().take_while(fits).count().max(1)
}

/// To length 1; zeros stay.
fn normalize(vector: &mut [f32]) {
    let square: f32 = vector.iter().map(|x| x * x).sum();
    // PyTorch's guard.
    let length = square.sqrt().max(1e-12);
    for x in vector {
        *x /= length;
    }
}

#[cfg(test)]
mod tests;
