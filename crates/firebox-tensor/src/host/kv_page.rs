//! Keys and values in pages.

use std::ops::Range;

use super::aligned::AlignedBuffer;
use super::attention_tiles::{put_key, put_value};
use super::gemm::panel_width;
use super::hadamard::rotate_heads;
use super::kv_element::{KvElement, widen};
use super::kv_format::KvFormat;
use super::kv_int4;
use super::level::SimdLevel;
use super::region::Arena;
use super::simd::Simd;

/// Tokens of a page.
pub(crate) const PAGE_TOKENS: usize = 64;

/// Sizes of an attention layer, the form of its keys and values, and the instruction set that its
/// pages are laid out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) kv_format: KvFormat,
    pub(crate) window: Option<usize>,
    pub(crate) level: SimdLevel,
}

impl AttentionShape {
    /// Tokens of a page.
    pub const PAGE_TOKENS: usize = PAGE_TOKENS;

    /// A layer whose pages are f32.
    ///
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
            kv_format: KvFormat::F32,
            window: None,
            level: SimdLevel::current(),
        }
    }

    /// The same with pages in another form.
    #[must_use]
    pub fn with_kv_format(self, kv_format: KvFormat) -> Self {
        Self { kv_format, ..self }
    }

    /// The same where a query sees only the last `window` keys, its own included.
    ///
    /// Source: Jiang et al. (2023), section 2, <https://arxiv.org/abs/2310.06825>.
    ///
    /// # Panics
    /// When the window is zero.
    #[must_use]
    pub fn with_window(self, window: Option<usize>) -> Self {
        assert_ne!(window, Some(0), "a window without keys");
        Self { window, ..self }
    }

    /// The tokens that a token's query sees.
    pub(crate) fn visible(&self, token: usize) -> Range<usize> {
        let n_visible = self
            .window
            .map_or(token + 1, |window| window.min(token + 1));
        token + 1 - n_visible..token + 1
    }

    /// Width of a value's row in a page: whole panels.
    pub(crate) fn value_stride(&self) -> usize {
        self.head_dim.next_multiple_of(panel_width(self.level))
    }

    /// Bytes of one head in a page.
    fn head_bytes(&self) -> usize {
        let n_elements = PAGE_TOKENS * (self.head_dim + self.value_stride());
        match self.kv_format {
            KvFormat::F32 => 4 * n_elements,
            KvFormat::F16 => 2 * n_elements,
            KvFormat::Int8 => n_elements + 4 * 2 * PAGE_TOKENS,
            KvFormat::Int4 => kv_int4::head_bytes(self),
        }
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.n_kv_heads * self.head_bytes()
    }
}

/// The part of some tokens that is among `n` from `first` on, counted from there.
pub(crate) fn part_of(tokens: &Range<usize>, first: usize, n: usize) -> Range<usize> {
    let place = |token: usize| token.saturating_sub(first).min(n);
    place(tokens.start)..place(tokens.end)
}

/// Keys and values of 64 tokens of one layer. For each head: the keys as panels,
/// `[64 / width, head_dim, width]`, the values as panels, `[head_dim / width, 64, width]`, and where
/// the form has scales, those of the keys and those of the values, `[64]` f32 each. Pages of 4 bits
/// are described in `kv_int4.rs`.
#[derive(Clone, Debug)]
pub struct KvPage(AlignedBuffer);

#[inline(always)]
fn encoded<E: KvElement>(vector: &[f32], scale: f32) -> impl ExactSizeIterator<Item = E> {
    vector.iter().map(move |x| E::encode(*x, scale))
}

/// One head of a page.
#[derive(Clone, Copy)]
pub(crate) struct PageHead<'a, E> {
    /// `[64 / width, head_dim, width]`.
    pub(crate) keys: &'a [E],
    /// `[value_stride / width, 64, width]`.
    pub(crate) values: &'a [E],
    /// `[64]`, or empty.
    pub(crate) key_scales: &'a [f32],
    /// `[64]`, or empty.
    pub(crate) value_scales: &'a [f32],
}

impl<E: KvElement> PageHead<'_, E> {
    /// The same keys and values as f32, in `buffers`; their scales stay apart.
    #[inline(always)]
    pub(crate) fn widened<'b, S: Simd>(
        &self,
        s: S,
        [keys, values]: &'b mut [Vec<f32>; 2],
    ) -> PageHead<'b, f32>
    where
        Self: 'b,
    {
        widen(s, self.keys, keys);
        widen(s, self.values, values);
        PageHead {
            keys,
            values,
            key_scales: self.key_scales,
            value_scales: self.value_scales,
        }
    }
}

impl KvPage {
    /// A page for a layer of this shape.
    pub fn new(shape: &AttentionShape) -> Self {
        Self(AlignedBuffer::zeroed(shape.page_bytes()))
    }

    /// A page beside others.
    pub fn new_in(arena: &mut Arena, shape: &AttentionShape) -> Self {
        Self(AlignedBuffer::zeroed_in(arena, shape.page_bytes()))
    }

    /// Puts a token's keys and values, `[kv_heads, head_dim]` each, into a place of the page.
    ///
    /// # Panics
    /// When the place is not below 64, or a length is wrong.
    #[inline]
    pub fn write(&mut self, shape: &AttentionShape, place: usize, keys: &[f32], values: &[f32]) {
        assert!(
            place < PAGE_TOKENS,
            "place {place} of a page of {PAGE_TOKENS} tokens"
        );
        assert_eq!(
            keys.len(),
            shape.n_kv_heads * shape.head_dim,
            "length of the keys"
        );
        assert_eq!(values.len(), keys.len(), "length of the values");
        match shape.kv_format {
            KvFormat::F32 => self.write_as::<f32>(shape, place, keys, values),
            KvFormat::F16 => self.write_as::<u16>(shape, place, keys, values),
            KvFormat::Int8 => self.write_as::<i8>(shape, place, keys, values),
            KvFormat::Int4 => self.write_int4(shape, place, keys, values),
        }
    }

    fn write_int4(&mut self, shape: &AttentionShape, place: usize, keys: &[f32], values: &[f32]) {
        let head_dim = shape.head_dim;
        let mut keys = keys.to_vec();
        rotate_heads(&mut keys, head_dim);
        let heads = self.0.values_mut::<u8>();
        let heads = heads.chunks_exact_mut(shape.head_bytes());
        let new = keys
            .chunks_exact(head_dim)
            .zip(values.chunks_exact(head_dim));
        for (head, (key, value)) in heads.zip(new) {
            kv_int4::write_head(shape, head, place, key, value);
        }
    }

    #[inline(always)]
    fn write_as<E: KvElement>(
        &mut self,
        shape: &AttentionShape,
        place: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let (width, head_dim) = (panel_width(shape.level), shape.head_dim);
        let bytes = self.0.values_mut::<u8>();
        let heads = bytes.chunks_exact_mut(shape.head_bytes());
        let new = keys
            .chunks_exact(head_dim)
            .zip(values.chunks_exact(head_dim));
        for (head, (key, value)) in heads.zip(new) {
            let key_bytes = PAGE_TOKENS * head_dim * size_of::<E>();
            let value_bytes = PAGE_TOKENS * shape.value_stride() * size_of::<E>();
            let (keys, rest) = head.split_at_mut(key_bytes);
            let (values, scales) = rest.split_at_mut(value_bytes);
            let (key_scale, value_scale) = (E::scale(key), E::scale(value));
            let keys = bytemuck::cast_slice_mut::<_, E>(keys);
            put_key(keys, width, place, encoded(key, key_scale));
            let values = bytemuck::cast_slice_mut::<_, E>(values);
            put_value(values, width, place, encoded(value, value_scale));
            if E::SCALED {
                let scales = bytemuck::cast_slice_mut::<_, f32>(scales);
                scales[place] = key_scale;
                scales[PAGE_TOKENS + place] = value_scale;
            }
        }
    }

    /// The bytes of one head.
    #[inline(always)]
    pub(crate) fn bytes(&self, shape: &AttentionShape, kv_head: usize) -> &[u8] {
        let head_bytes = shape.head_bytes();
        &self.0.values::<u8>()[kv_head * head_bytes..][..head_bytes]
    }

    /// Keys and values of one head; `E` is the element of the shape's form.
    #[inline(always)]
    pub(crate) fn head<E: KvElement>(
        &self,
        shape: &AttentionShape,
        kv_head: usize,
    ) -> PageHead<'_, E> {
        let head = self.bytes(shape, kv_head);
        let (keys, rest) = head.split_at(PAGE_TOKENS * shape.head_dim * size_of::<E>());
        let (values, scales) = rest.split_at(PAGE_TOKENS * shape.value_stride() * size_of::<E>());
        let scales = bytemuck::cast_slice::<_, f32>(scales);
        let (key_scales, value_scales) = scales.split_at(scales.len() / 2);
        PageHead {
            keys: bytemuck::cast_slice(keys),
            values: bytemuck::cast_slice(values),
            key_scales,
            value_scales,
        }
    }

    /// Bytes in memory.
    pub fn n_bytes(&self) -> usize {
        self.0.n_bytes()
    }

    /// Takes over what another page of the same layer holds.
    ///
    /// # Panics
    /// When that page is of another shape.
    pub fn copy_from(&mut self, other: &Self) {
        self.0
            .values_mut::<u8>()
            .copy_from_slice(other.0.values::<u8>());
    }
}
