//! Keys and values of the tokens seen so far.

use burn::tensor::{Device, Tensor};

use crate::config::LlamaConfig;

/// A cache starts with room for this many tokens and doubles.
const FIRST_CAPACITY: usize = 256;

/// Keys and values of one sequence batch, for every layer, written in place.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
}

/// Keys and values of one layer, each `[batch, kv_heads, capacity, head_dim]`.
#[derive(Debug, Clone)]
pub(crate) struct LayerCache {
    keys: Option<Tensor<4>>,
    values: Option<Tensor<4>>,
    max_seq_len: usize,
}

impl KvCache {
    /// An empty cache. Memory is taken as tokens arrive.
    pub fn new(config: &LlamaConfig) -> Self {
        let layer = LayerCache {
            keys: None,
            values: None,
            max_seq_len: config.max_seq_len,
        };
        Self {
            layers: vec![layer; config.n_layers],
            len: 0,
        }
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn layer_mut(&mut self, layer: usize) -> &mut LayerCache {
        &mut self.layers[layer]
    }

    pub(crate) fn advance(&mut self, n_tokens: usize) {
        self.len += n_tokens;
    }
}

impl LayerCache {
    /// Writes the new keys and values behind the first `start` and returns all of them.
    ///
    /// # Shapes
    /// In `[batch, kv_heads, seq, head_dim]`, out `[batch, kv_heads, start + seq, head_dim]`.
    pub(crate) fn append(
        &mut self,
        start: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let max = self.max_seq_len;
        (
            write(&mut self.keys, start, max, keys),
            write(&mut self.values, start, max, values),
        )
    }
}

fn write(
    slot: &mut Option<Tensor<4>>,
    start: usize,
    max_seq_len: usize,
    new: Tensor<4>,
) -> Tensor<4> {
    let [batch, kv_heads, seq, head_dim] = new.dims();
    let end = start + seq;
    // What was seen is a constant: a cache keeps no graph.
    let new = new.inner();
    let room = grow(
        slot.take(),
        [batch, kv_heads, end, head_dim],
        max_seq_len,
        &new.device(),
    );
    // The slot is the only owner here, so the backend writes in place.
    let held = room.slice_assign([0..batch, 0..kv_heads, start..end, 0..head_dim], new);
    let all = held
        .clone()
        .slice([0..batch, 0..kv_heads, 0..end, 0..head_dim]);
    *slot = Some(held);
    all
}

/// A buffer with room for `needed` tokens that begins with what `held` holds.
fn grow(
    held: Option<Tensor<4>>,
    shape: [usize; 4],
    max_seq_len: usize,
    device: &Device,
) -> Tensor<4> {
    let [batch, kv_heads, needed, head_dim] = shape;
    let capacity = held.as_ref().map_or(0, |t| t.dims()[2]);
    match held {
        Some(held) if capacity >= needed => held,
        held => {
            let room = (2 * capacity)
                .max(FIRST_CAPACITY)
                .min(max_seq_len)
                .max(needed);
            let room = Tensor::zeros([batch, kv_heads, room, head_dim], device);
            match held {
                Some(held) => {
                    room.slice_assign([0..batch, 0..kv_heads, 0..capacity, 0..head_dim], held)
                }
                None => room,
            }
        }
    }
}
