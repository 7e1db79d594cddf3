//! The decoder laid out for this CPU: weights in panels, no burn.
//!
//! [`Llama`](crate::Llama) trains and runs on any device; [`HostLlama`] only reads, on the CPU. One
//! forward pass is a handful of kernel calls a layer over buffers that are kept.

mod adapter;
mod bert;
mod cache;
mod linear;
mod load;
mod weights;

use std::ops::Range;
use std::sync::Arc;

use firebox_tensor::host::{
    AttentionShape, KvFormat, PanelMatrix, SimdLevel, Start, attend, in_team, rms_norm, rotate,
    softmax_nll, swiglu,
};

pub use self::adapter::HostAdapter;
pub use self::bert::{BertConfig, EncoderBuffers, HostBert};
pub use self::cache::{HostBlocks, HostCache};
pub use self::weights::{HostWeights, UnknownHostWeights};

use self::adapter::{AdaptedRows, Place};
use self::cache::Workspace;
use self::linear::HostLinear;
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::generate::PREFILL_CHUNK;

/// Rows of logits that are held at once when a text is scored.
const LOGIT_ROWS: usize = 32;

/// A Llama-family decoder that only reads, on the CPU: frozen weights, as they are stored or in a
/// chosen form, with f32 activations.
///
/// A row has the same bits in any batch, in any chunks, and on any number of threads.
#[derive(Debug)]
pub struct HostLlama {
    config: LlamaConfig,
    level: SimdLevel,
    shape: AttentionShape,
    inv_freq: Vec<f64>,
    /// `[vocab, d_model]`.
    embed_tokens: PanelMatrix,
    layers: Vec<HostLayer>,
    /// `[d_model]`.
    norm: Vec<f32>,
    /// `[vocab, d_model]`; `None` when the head is the embedding.
    lm_head: Option<PanelMatrix>,
    /// Beside the weights for every sequence that has none of its own.
    adapter: Option<Arc<HostAdapter>>,
}

/// The next tokens of one sequence among those of a batch.
#[derive(Clone, Copy, Debug)]
pub struct HostSegment<'a> {
    /// What is to be computed.
    pub ids: &'a [u32],
    /// Tokens of the sequence before them, computed already.
    pub n_past: usize,
    /// The sequence's blocks, first to last, up to the last of `ids` at least.
    pub table: &'a [u32],
    /// What the sequence has beside the weights.
    pub adapter: Option<&'a HostAdapter>,
}

impl HostSegment<'_> {
    /// Where in the sequence the tokens are.
    fn positions(&self) -> Range<usize> {
        self.n_past..self.n_past + self.ids.len()
    }
}

#[derive(Debug)]
struct HostLayer {
    input_layernorm: Vec<f32>,
    /// Queries, keys and values of a token, in this order.
    qkv_proj: HostLinear,
    o_proj: HostLinear,
    post_attention_layernorm: Vec<f32>,
    /// Gate and up, in this order.
    gate_up_proj: HostLinear,
    down_proj: HostLinear,
}

impl HostLlama {
    /// The sizes.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Bytes of the weights in memory.
    pub fn n_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            [
                &layer.qkv_proj,
                &layer.o_proj,
                &layer.gate_up_proj,
                &layer.down_proj,
            ]
        });
        let head = self.lm_head.as_ref().map_or(0, PanelMatrix::n_bytes);
        layers.map(HostLinear::n_bytes).sum::<usize>() + self.embed_tokens.n_bytes() + head
    }

    /// The same with keys and values held in this form; caches made before keep theirs, and are not
    /// for this model any more.
    #[must_use]
    pub fn with_kv_format(mut self, kv_format: KvFormat) -> Self {
        self.shape = self.shape.with_kv_format(kv_format);
        self
    }

    /// The same with an adapter beside the weights, for every sequence that has none of its own.
    ///
    /// # Errors
    /// As [`HostAdapter::check`].
    pub fn with_adapter(mut self, adapter: Arc<HostAdapter>) -> Result<Self, ModelError> {
        adapter.check(&self.config)?;
        self.adapter = Some(adapter);
        Ok(self)
    }

    /// An empty cache for one sequence.
    pub fn new_cache(&self) -> HostCache {
        HostCache::new(self.new_blocks())
    }

    /// Blocks for any number of sequences: none yet.
    pub fn new_blocks(&self) -> HostBlocks {
        HostBlocks::new(self.shape, self.config.n_layers, &self.inv_freq)
    }

    /// Computes the tokens that follow those in `cache`, which learns them and holds their hidden
    /// states until the next call.
    ///
    /// # Errors
    /// [`ModelError::TokenOutOfRange`]; [`ModelError::PromptTooLong`] past the context.
    pub fn forward(&self, ids: &[u32], cache: &mut HostCache) -> Result<(), ModelError> {
        self.config.check_context(cache.len() + ids.len())?;
        self.config.check_ids(ids)?;
        cache.reach(ids.len());
        let segment = HostSegment {
            ids,
            n_past: cache.len,
            table: &cache.table,
            adapter: None,
        };
        in_team(|| self.compute(&[segment], &mut cache.blocks));
        cache.len += ids.len();
        Ok(())
    }

    /// Computes the next tokens of several sequences at once. Their keys and values go into the
    /// blocks, which hold the rows' hidden states until the next call, segment after segment.
    ///
    /// # Errors
    /// As [`Self::forward`], and [`HostAdapter::check`].
    ///
    /// # Panics
    /// When a table names a block that is not there or does not reach its segment's last token.
    pub fn forward_batch(
        &self,
        segments: &[HostSegment<'_>],
        blocks: &mut HostBlocks,
    ) -> Result<(), ModelError> {
        for segment in segments {
            self.config.check_context(segment.positions().end)?;
            self.config.check_ids(segment.ids)?;
            if let Some(adapter) = segment.adapter {
                adapter.check(&self.config)?;
            }
        }
        in_team(|| self.compute(segments, blocks));
        Ok(())
    }

    fn compute(&self, segments: &[HostSegment<'_>], blocks: &mut HostBlocks) {
        let d_model = self.config.d_model;
        blocks.begin(segments, d_model);
        let adapted = AdaptedRows::group(segments, self.adapter.as_deref());
        let ids = segments.iter().flat_map(|segment| segment.ids);
        for (id, x) in ids.zip(blocks.work.x.chunks_exact_mut(d_model)) {
            self.embed_tokens.unpack_row(*id as usize, x);
        }
        for i in 0..self.layers.len() {
            self.attention(i, segments, &adapted, blocks);
            self.feed_forward(i, &adapted, &mut blocks.work);
        }
    }

    fn attention(
        &self,
        i: usize,
        segments: &[HostSegment<'_>],
        adapted: &AdaptedRows<'_>,
        blocks: &mut HostBlocks,
    ) {
        let layer = &self.layers[i];
        let (n_heads, n_kv_heads) = (self.config.n_heads, self.config.n_kv_heads);
        let work = &mut blocks.work;
        let (n_rows, stride) = (work.positions.len(), layer.qkv_proj.n_out());
        work.normalize(self.level, &layer.input_layernorm, self.config.rms_eps);
        work.wide.resize(n_rows * stride, 0.0);
        let scratch = &mut work.scratch;
        layer
            .qkv_proj
            .apply(&work.normed, &mut work.wide, Start::Zero, scratch);
        let (x, y) = (&work.normed, &mut work.wide);
        adapted.add((i, Place::Qkv), x, y, &mut work.side);
        let n_rotated = n_heads + n_kv_heads;
        rotate(
            self.level,
            &mut work.wide,
            stride,
            n_rotated,
            &work.rotary,
            &work.positions,
        );
        let keys_at = n_heads * self.config.head_dim;
        blocks.write(i, stride);
        let (segments, work) = blocks.of_layer(segments, i);
        work.narrow.resize(n_rows * keys_at, 0.0);
        attend(&self.shape, &work.wide, stride, &segments, &mut work.narrow);
        layer.o_proj.apply(
            &work.narrow,
            &mut work.x,
            Start::Accumulate,
            &mut work.scratch,
        );
        let (x, y) = (&work.narrow, &mut work.x);
        adapted.add((i, Place::O), x, y, &mut work.side);
    }

    fn feed_forward(&self, i: usize, adapted: &AdaptedRows<'_>, work: &mut Workspace) {
        let layer = &self.layers[i];
        let (n_rows, n_wide) = (work.positions.len(), layer.gate_up_proj.n_out());
        work.normalize(
            self.level,
            &layer.post_attention_layernorm,
            self.config.rms_eps,
        );
        work.wide.resize(n_rows * n_wide, 0.0);
        let scratch = &mut work.scratch;
        layer
            .gate_up_proj
            .apply(&work.normed, &mut work.wide, Start::Zero, scratch);
        let (x, y) = (&work.normed, &mut work.wide);
        adapted.add((i, Place::GateUp), x, y, &mut work.side);
        work.narrow.resize(n_rows * self.config.d_ff, 0.0);
        swiglu(self.level, &work.wide, self.config.d_ff, &mut work.narrow);
        layer
            .down_proj
            .apply(&work.narrow, &mut work.x, Start::Accumulate, scratch);
        let (x, y) = (&work.narrow, &mut work.x);
        adapted.add((i, Place::Down), x, y, &mut work.side);
    }

    /// Logits after the last computed token, `[vocab]`.
    ///
    /// # Panics
    /// When nothing was computed.
    pub fn last_logits(&self, cache: &mut HostCache) -> Vec<f32> {
        let mut logits = Vec::new();
        self.last_logits_into(cache, &mut logits);
        logits
    }

    /// As [`HostLlama::last_logits`], into a buffer that is used again token after token.
    ///
    /// # Panics
    /// When nothing was computed.
    pub fn last_logits_into(&self, cache: &mut HostCache, logits: &mut Vec<f32>) {
        let n_rows = cache.blocks.work.positions.len();
        assert!(n_rows > 0, "logits of a token that was not computed");
        self.logits_into(n_rows - 1..n_rows, &mut cache.blocks, logits);
    }

    /// Logits after each token of the last call of [`HostLlama::forward`], `[tokens, vocab]`.
    pub(crate) fn all_logits_into(&self, cache: &mut HostCache, logits: &mut Vec<f32>) {
        let n_rows = cache.blocks.work.positions.len();
        self.logits_into(0..n_rows, &mut cache.blocks, logits);
    }

    /// Logits after some of the rows of the last pass, `[rows, vocab]`.
    ///
    /// # Panics
    /// When a row was not computed.
    pub fn logits_into(
        &self,
        rows: impl ExactSizeIterator<Item = usize> + Send,
        blocks: &mut HostBlocks,
        logits: &mut Vec<f32>,
    ) {
        in_team(|| self.logits(rows, &mut blocks.work, logits));
    }

    fn logits(
        &self,
        rows: impl ExactSizeIterator<Item = usize>,
        work: &mut Workspace,
        logits: &mut Vec<f32>,
    ) {
        let (d_model, eps) = (self.config.d_model, self.config.rms_eps as f32);
        let n_rows = rows.len();
        work.narrow.clear();
        for row in rows {
            let x = &work.x[row * d_model..][..d_model];
            work.narrow.extend_from_slice(x);
        }
        work.normed.resize(n_rows * d_model, 0.0);
        rms_norm(self.level, &work.narrow, &self.norm, eps, &mut work.normed);
        logits.resize(n_rows * self.config.vocab_size, 0.0);
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        head.matmul(&work.normed, logits, Start::Zero, &mut work.scratch);
    }

    /// Negative log-likelihood of each token after the first, in nats: `ids.len() - 1` values.
    ///
    /// # Errors
    /// [`ModelError::Empty`] for fewer than two tokens, and those of [`HostLlama::forward`].
    pub fn token_nll(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        if ids.len() < 2 {
            return Err(ModelError::Empty {
                what: "text behind its first token",
            });
        }
        self.config.check_ids(ids)?;
        let (mut cache, mut logits) = (self.new_cache(), Vec::new());
        let mut nll = Vec::with_capacity(ids.len() - 1);
        for start in (0..ids.len() - 1).step_by(PREFILL_CHUNK) {
            let end = (ids.len() - 1).min(start + PREFILL_CHUNK);
            self.forward(&ids[start..end], &mut cache)?;
            for first in (0..end - start).step_by(LOGIT_ROWS) {
                let rows = first..(end - start).min(first + LOGIT_ROWS);
                let next = &ids[start + rows.start + 1..=start + rows.end];
                let targets: Vec<usize> = next.iter().map(|id| *id as usize).collect();
                in_team(|| {
                    self.logits(rows, &mut cache.blocks.work, &mut logits);
                    nll.extend(softmax_nll(self.level, &mut logits, &targets).0);
                });
            }
        }
        Ok(nll)
    }
}

#[cfg(test)]
mod tests;
