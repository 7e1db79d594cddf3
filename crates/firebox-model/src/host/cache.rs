//! Keys and values of one sequence in pages, and the buffers of a forward pass.

use firebox_tensor::host::{
    Arena, AttentionShape, KvPage, MatmulScratch, RotaryTable, SimdLevel, rms_norm,
};

/// What a sequence has computed so far: pages of 64 tokens for every layer, taken as tokens arrive
/// and never moved; and the buffers that a pass reuses.
#[derive(Debug)]
pub struct HostCache {
    shape: AttentionShape,
    /// Where the pages lie.
    arena: Arena,
    /// The pages of each layer.
    pub(super) pages: Vec<Vec<KvPage>>,
    len: usize,
    pub(super) work: Workspace,
}

/// Buffers of one pass; rows are tokens.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Position of each row.
    pub(super) positions: Vec<usize>,
    /// The residual stream, `[rows, d_model]`.
    pub(super) x: Vec<f32>,
    /// `x` after a norm.
    pub(super) normed: Vec<f32>,
    /// Queries, keys and values, or gate and up.
    pub(super) wide: Vec<f32>,
    /// What attention, or the gate, made of them.
    pub(super) narrow: Vec<f32>,
    pub(super) scratch: MatmulScratch,
    pub(super) rotary: RotaryTable,
}

impl HostCache {
    pub(super) fn new(shape: AttentionShape, n_layers: usize, inv_freq: &[f64]) -> Self {
        Self {
            shape,
            arena: Arena::new(),
            pages: vec![Vec::new(); n_layers],
            len: 0,
            work: Workspace {
                positions: Vec::new(),
                x: Vec::new(),
                normed: Vec::new(),
                wide: Vec::new(),
                narrow: Vec::new(),
                scratch: MatmulScratch::default(),
                rotary: RotaryTable::new(inv_freq),
            },
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

    /// Bytes of the pages.
    pub fn n_bytes(&self) -> usize {
        self.pages.iter().flatten().map(KvPage::n_bytes).sum()
    }

    /// Makes room for `n_rows` more tokens.
    pub(super) fn begin(&mut self, n_rows: usize, d_model: usize) {
        let n_tokens = self.len + n_rows;
        let n_pages = n_tokens.div_ceil(AttentionShape::PAGE_TOKENS);
        for pages in &mut self.pages {
            pages.resize_with(n_pages, || KvPage::new_in(&mut self.arena, &self.shape));
        }
        let work = &mut self.work;
        work.positions.clear();
        work.positions.extend(self.len..n_tokens);
        work.x.resize(n_rows * d_model, 0.0);
        work.normed.resize(n_rows * d_model, 0.0);
        work.rotary.reach(n_tokens);
    }

    /// Puts the keys and values of the rows, `[queries, keys, values]` in `wide`, into the pages of a
    /// layer; the keys begin at `keys_at` of a row.
    pub(super) fn write(&mut self, layer: usize, stride: usize, keys_at: usize) {
        let pages = &mut self.pages[layer];
        for (row, token) in self.work.wide.chunks_exact(stride).zip(self.len..) {
            let (page, place) = (
                token / AttentionShape::PAGE_TOKENS,
                token % AttentionShape::PAGE_TOKENS,
            );
            let (keys, values) = row[keys_at..].split_at((stride - keys_at) / 2);
            pages[page].write(&self.shape, place, keys, values);
        }
    }

    pub(super) fn advance(&mut self, n_rows: usize) {
        self.len += n_rows;
    }
}

impl Workspace {
    /// `normed = norm(x)`.
    pub(super) fn normalize(&mut self, level: SimdLevel, gamma: &[f32], eps: f64) {
        rms_norm(level, &self.x, gamma, eps as f32, &mut self.normed);
    }
}
