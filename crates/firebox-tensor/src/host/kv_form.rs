//! How a task of attention reads a page.

use super::attention_task::STACKED_ROWS;
use super::kv_element::KvElement;
use super::kv_page::{AttentionShape, KvPage, PageHead};
use super::simd::Simd;

/// A form of pages.
pub(crate) trait KvForm {
    /// What the innermost loop reads where few rows do.
    type Element: KvElement;

    /// Whether keys are held rotated, so that queries have to be as well.
    const ROTATED: bool = false;

    /// Keys and values of a page's key head for `n_rows` rows; `buffers` hold them where they become
    /// f32.
    fn read<'a, S: Simd>(
        s: S,
        page_and_head: (&'a KvPage, usize),
        shape: &AttentionShape,
        n_rows: usize,
        buffers: &'a mut [Vec<f32>; 2],
    ) -> ReadHead<'a, Self::Element>;
}

/// One head of a page as it is read.
pub(crate) enum ReadHead<'a, E> {
    /// In the page.
    Held(PageHead<'a, E>),
    /// As f32, beside it.
    Widened(PageHead<'a, f32>),
}

/// Pages of single elements: read as they are, but as f32 where several tiles read them.
impl<E: KvElement> KvForm for E {
    type Element = E;

    #[inline(always)]
    fn read<'a, S: Simd>(
        s: S,
        (page, kv_head): (&'a KvPage, usize),
        shape: &AttentionShape,
        n_rows: usize,
        buffers: &'a mut [Vec<f32>; 2],
    ) -> ReadHead<'a, E> {
        let head = page.head::<E>(shape, kv_head);
        if E::WIDENED && n_rows > STACKED_ROWS {
            ReadHead::Widened(head.widened(s, buffers))
        } else {
            ReadHead::Held(head)
        }
    }
}
