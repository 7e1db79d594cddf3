//! Keys and values of sequences in blocks, and the buffers of a forward pass.

use firebox_tensor::host::{
    Arena, AttentionShape, KvPage, MatmulScratch, RotaryTable, Segment, SimdLevel, rms_norm,
    write_pages,
};

use super::HostSegment;
use super::adapter::SideBuffers;

/// What one sequence has computed so far: blocks that are taken as tokens arrive and never moved.
#[derive(Debug)]
pub struct HostCache {
    pub(super) blocks: HostBlocks,
    /// Its blocks, first to last: all there are.
    pub(super) table: Vec<u32>,
    pub(super) len: usize,
}

/// Keys and values of any number of sequences in blocks of 64 tokens, which go by number and which
/// sequences may share; and the buffers that a forward pass reuses.
///
/// Who holds which block is not known here.
#[derive(Debug)]
pub struct HostBlocks {
    shape: AttentionShape,
    /// Where the pages lie.
    arena: Arena,
    /// A block's page in each layer: `[layers][blocks]`.
    pages: Vec<Vec<KvPage>>,
    pub(super) work: Workspace,
}

/// Buffers of one pass; rows are tokens.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Position of each row.
    pub(super) positions: Vec<usize>,
    /// Block of each row, and the place in it.
    places: Vec<(u32, usize)>,
    /// The residual stream, `[rows, d_model]`.
    pub(super) x: Vec<f32>,
    /// `x` after a norm.
    pub(super) normed: Vec<f32>,
    /// Queries, keys and values, or gate and up.
    pub(super) wide: Vec<f32>,
    /// What attention, or the gate, made of them.
    pub(super) narrow: Vec<f32>,
    pub(super) scratch: MatmulScratch,
    pub(super) side: Box<SideBuffers>,
    pub(super) rotary: RotaryTable,
}

impl HostCache {
    pub(super) fn new(blocks: HostBlocks) -> Self {
        Self {
            blocks,
            table: Vec::new(),
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

    /// Bytes of the blocks.
    pub fn n_bytes(&self) -> usize {
        self.blocks.n_bytes()
    }

    /// Makes room for `n` more tokens.
    pub(super) fn reach(&mut self, n: usize) {
        let n_blocks = (self.len + n).div_ceil(HostBlocks::TOKENS);
        self.blocks.reach(n_blocks);
        self.table.extend(self.table.len() as u32..n_blocks as u32);
    }
}

impl HostBlocks {
    /// Tokens of a block.
    pub const TOKENS: usize = AttentionShape::PAGE_TOKENS;

    pub(super) fn new(shape: AttentionShape, n_layers: usize, inv_freq: &[f64]) -> Self {
        Self {
            shape,
            arena: Arena::new(),
            pages: vec![Vec::new(); n_layers],
            work: Workspace {
                positions: Vec::new(),
                places: Vec::new(),
                x: Vec::new(),
                normed: Vec::new(),
                wide: Vec::new(),
                narrow: Vec::new(),
                scratch: MatmulScratch::default(),
                side: Box::default(),
                rotary: RotaryTable::new(inv_freq),
            },
        }
    }

    /// Bytes of the blocks.
    pub fn n_bytes(&self) -> usize {
        self.pages.iter().flatten().map(KvPage::n_bytes).sum()
    }

    /// Makes blocks until there are `n_blocks`.
    pub fn reach(&mut self, n_blocks: usize) {
        for pages in &mut self.pages {
            while pages.len() < n_blocks {
                pages.push(KvPage::new_in(&mut self.arena, &self.shape));
            }
        }
    }

    /// Makes block `to` hold what block `from` holds.
    ///
    /// # Panics
    /// When there is no such block, or they are one.
    pub fn copy(&mut self, from: u32, to: u32) {
        for pages in &mut self.pages {
            let [from, to] = pages
                .get_disjoint_mut([from as usize, to as usize])
                .expect("two blocks that are there");
            to.copy_from(from);
        }
    }

    /// Makes room for the rows of a pass.
    pub(super) fn begin(&mut self, segments: &[HostSegment<'_>], d_model: usize) {
        let work = &mut self.work;
        work.positions.clear();
        work.places.clear();
        for segment in segments {
            work.positions.extend(segment.positions());
            let place = |token| (segment.table[token / Self::TOKENS], token % Self::TOKENS);
            work.places.extend(segment.positions().map(place));
        }
        let n_rows = work.positions.len();
        work.x.resize(n_rows * d_model, 0.0);
        work.normed.resize(n_rows * d_model, 0.0);
        let reached = work.positions.iter().max().map_or(0, |last| last + 1);
        work.rotary.reach(reached);
    }

    /// Puts the keys and values of the rows, `[queries, keys, values]` in `wide`, into the pages of a
    /// layer.
    pub(super) fn write(&mut self, layer: usize, stride: usize) {
        let Workspace { wide, places, .. } = &self.work;
        write_pages(&self.shape, &mut self.pages[layer], wide, stride, places);
    }

    /// The segments as attention takes them, and the buffers beside their pages.
    pub(super) fn of_layer<'a>(
        &'a mut self,
        segments: &[HostSegment<'a>],
        layer: usize,
    ) -> (Vec<Segment<'a>>, &'a mut Workspace) {
        let mut first = 0;
        let pages = &self.pages[layer];
        let in_rows = |segment: &HostSegment<'a>| {
            let rows = first..first + segment.ids.len();
            first = rows.end;
            Segment {
                rows,
                n_past: segment.n_past,
                pages,
                table: segment.table,
            }
        };
        (segments.iter().map(in_rows).collect(), &mut self.work)
    }
}

impl Workspace {
    /// `normed = norm(x)`.
    pub(super) fn normalize(&mut self, level: SimdLevel, gamma: &[f32], eps: f64) {
        rms_norm(level, &self.x, gamma, eps as f32, &mut self.normed);
    }
}
