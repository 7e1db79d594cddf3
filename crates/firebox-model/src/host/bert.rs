//! A BERT encoder laid out for this CPU: rows of several texts at once, without padding.

mod config;
mod load;

use std::ops::Range;

use firebox_tensor::host::{
    EncoderRows, LayerNorm, MatmulScratch, PanelMatrix, SimdLevel, Start, attend_within, gelu,
    in_team,
};

pub use self::config::BertConfig;

use crate::error::ModelError;

/// A BERT encoder that only reads, on the CPU: f32 activations, weights in a chosen form.
///
/// A text's hidden states have the same bits whatever is computed with it, on any number of threads.
///
/// Source: Devlin et al. (2018), <https://arxiv.org/abs/1810.04805>.
#[derive(Debug)]
pub struct HostBert {
    config: BertConfig,
    level: SimdLevel,
    /// `[vocab, d_model]`: looked up, never multiplied, and so in f32.
    word_embeddings: Vec<f32>,
    /// `[max_seq_len, d_model]`.
    position_embeddings: Vec<f32>,
    /// Of the first of two texts, which is every token's here, `[d_model]`.
    token_type: Vec<f32>,
    norm: LayerNorm,
    layers: Vec<EncoderLayer>,
}

/// Each norm comes after what is added: post-norm.
#[derive(Debug)]
struct EncoderLayer {
    /// Queries, keys and values of a token, in this order.
    qkv: Dense,
    attention_output: Dense,
    attention_norm: LayerNorm,
    intermediate: Dense,
    output: Dense,
    output_norm: LayerNorm,
}

/// A weight, and what whoever reads its result adds to it.
#[derive(Debug)]
struct Dense {
    /// `[out, in]`.
    weight: PanelMatrix,
    /// `[out]`.
    bias: Vec<f32>,
}

/// Memory of a pass, used again by the next.
#[derive(Debug, Default)]
pub struct EncoderBuffers {
    /// `[rows, d_model]`.
    x: Vec<f32>,
    /// `[rows, 3 * d_model]`, or `[rows, d_ff]`.
    wide: Vec<f32>,
    /// `[rows, d_model]`.
    mixed: Vec<f32>,
    scratch: MatmulScratch,
}

impl HostBert {
    /// The sizes.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Bytes of the weights in memory, norms and biases left out.
    pub fn n_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            [
                &layer.qkv,
                &layer.attention_output,
                &layer.intermediate,
                &layer.output,
            ]
        });
        let embeddings = (self.word_embeddings.len() + self.position_embeddings.len()) * 4;
        layers.map(|dense| dense.weight.n_bytes()).sum::<usize>() + embeddings
    }

    /// The last hidden states of all tokens, text after text: `[rows, d_model]`.
    ///
    /// # Errors
    /// [`ModelError::Empty`] for a text without tokens, [`ModelError::PromptTooLong`] for one past
    /// the last position, [`ModelError::TokenOutOfRange`].
    pub fn forward<'b>(
        &self,
        texts: &[&[u32]],
        buffers: &'b mut EncoderBuffers,
    ) -> Result<&'b [f32], ModelError> {
        for text in texts {
            self.config.check(text)?;
        }
        let rows = rows_of(texts);
        in_team(|| self.embed(texts, buffers));
        for layer in &self.layers {
            // One team a layer: whoever else needs the threads waits no longer than that.
            in_team(|| self.layer(layer, &rows, buffers));
        }
        Ok(&buffers.x)
    }

    /// The sum of the embeddings of a token, its position and its type, normalized.
    fn embed(&self, texts: &[&[u32]], buffers: &mut EncoderBuffers) {
        let d_model = self.config.d_model;
        buffers.x.clear();
        for text in texts {
            for (id, position) in text
                .iter()
                .zip(self.position_embeddings.chunks_exact(d_model))
            {
                let word = &self.word_embeddings[*id as usize * d_model..][..d_model];
                let sums = word
                    .iter()
                    .zip(position)
                    .map(|(word, position)| word + position);
                buffers.x.extend(sums);
            }
        }
        self.norm
            .apply(self.level, &mut buffers.x, &self.token_type);
    }

    fn layer(&self, layer: &EncoderLayer, rows: &[Range<usize>], buffers: &mut EncoderBuffers) {
        let EncoderBuffers {
            x,
            wide,
            mixed,
            scratch,
        } = buffers;
        let n_rows = x.len() / self.config.d_model;
        wide.resize(n_rows * layer.qkv.bias.len(), 0.0);
        layer.qkv.weight.matmul(x, wide, Start::Zero, scratch);
        mixed.resize(x.len(), 0.0);
        let qkv = EncoderRows {
            qkv: wide,
            bias: &layer.qkv.bias,
            n_heads: self.config.n_heads,
        };
        attend_within(self.level, qkv, rows, mixed);
        let attended = &layer.attention_output;
        attended.weight.matmul(mixed, x, Start::Accumulate, scratch);
        layer.attention_norm.apply(self.level, x, &attended.bias);

        wide.resize(n_rows * self.config.d_ff, 0.0);
        layer
            .intermediate
            .weight
            .matmul(x, wide, Start::Zero, scratch);
        gelu(self.level, wide, &layer.intermediate.bias);
        layer
            .output
            .weight
            .matmul(wide, x, Start::Accumulate, scratch);
        layer.output_norm.apply(self.level, x, &layer.output.bias);
    }
}

/// Which rows are a text's.
fn rows_of(texts: &[&[u32]]) -> Vec<Range<usize>> {
    let mut end = 0;
    let next = |text: &&[u32]| {
        end += text.len();
        end - text.len()..end
    };
    texts.iter().map(next).collect()
}

#[cfg(test)]
mod tests;
