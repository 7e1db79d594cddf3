//! Keys and values in pages.

use super::aligned::AlignedBuffer;
use super::attention_tiles::put_key;
use super::gemm::panel_width;
use super::level::SimdLevel;

/// Tokens of a page.
pub(crate) const PAGE_TOKENS: usize = 64;

/// Sizes of an attention layer, and the instruction set that its pages are laid out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) level: SimdLevel,
}

impl AttentionShape {
    /// Tokens of a page.
    pub const PAGE_TOKENS: usize = PAGE_TOKENS;

    /// # Panics
    /// When a size is zero, or the query heads are not a multiple of the key heads.
    pub fn new(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Self {
        assert!(n_kv_heads > 0 && head_dim > 0, "attention without heads");
        assert!(
            n_heads.is_multiple_of(n_kv_heads),
            "query heads against key heads"
        );
        Self {
            n_heads,
            n_kv_heads,
            head_dim,
            level: SimdLevel::current(),
        }
    }

    /// Width of a value's row in a page: whole panels.
    pub(crate) fn value_stride(&self) -> usize {
        self.head_dim.next_multiple_of(panel_width(self.level))
    }

    /// Values of one head in a page: keys, then values.
    fn head_len(&self) -> usize {
        PAGE_TOKENS * (self.head_dim + self.value_stride())
    }

    pub(crate) fn page_len(&self) -> usize {
        self.n_kv_heads * self.head_len()
    }
}

/// Keys and values of 64 tokens of one layer. For each head: the keys as panels,
/// `[64 / width, head_dim, width]`, then the values, `[64, head_dim]`.
#[derive(Clone, Debug)]
pub struct KvPage(AlignedBuffer);

impl KvPage {
    /// A page for a layer of this shape.
    pub fn new(shape: &AttentionShape) -> Self {
        Self(AlignedBuffer::zeroed(4 * shape.page_len()))
    }

    /// Puts a token's keys and values, `[kv_heads, head_dim]` each, into a place of the page.
    ///
    /// # Panics
    /// When the place is not below 64, or a length is wrong.
    pub fn write(&mut self, shape: &AttentionShape, place: usize, keys: &[f32], values: &[f32]) {
        let head_dim = shape.head_dim;
        assert!(
            place < PAGE_TOKENS,
            "place {place} of a page of {PAGE_TOKENS} tokens"
        );
        assert_eq!(
            keys.len(),
            shape.n_kv_heads * head_dim,
            "length of the keys"
        );
        assert_eq!(values.len(), keys.len(), "length of the values");
        let width = panel_width(shape.level);
        let heads = self
            .0
            .values_mut::<f32>()
            .chunks_exact_mut(shape.head_len());
        let new = keys
            .chunks_exact(head_dim)
            .zip(values.chunks_exact(head_dim));
        for (head, (key, value)) in heads.zip(new) {
            let (keys, values) = head.split_at_mut(PAGE_TOKENS * head_dim);
            put_key(keys, width, place, key);
            values[place * shape.value_stride()..][..head_dim].copy_from_slice(value);
        }
    }

    /// Keys and values of one head: `[64 / width, head_dim, width]` and `[64, value_stride]`.
    #[inline(always)]
    pub(crate) fn head(&self, shape: &AttentionShape, kv_head: usize) -> (&[f32], &[f32]) {
        let head_len = shape.head_len();
        let head = &self.0.values::<f32>()[kv_head * head_len..][..head_len];
        head.split_at(PAGE_TOKENS * shape.head_dim)
    }

    /// Bytes in memory.
    pub fn n_bytes(&self) -> usize {
        self.0.n_bytes()
    }
}
