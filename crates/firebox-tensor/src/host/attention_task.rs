//! One task of attention: some queries of one key head.

#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one result through a pointer"
)]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem;
use std::ops::Range;

use super::attention::Segment;
use super::attention_tiles::{Right, add_product, by_rows, score_page};
use super::float_tile::Left;
use super::hadamard::rotate_heads;
use super::kv_element::KvElement;
use super::kv_form::{KvForm, ReadHead};
use super::kv_page::{AttentionShape, PAGE_TOKENS, PageHead, part_of};
use super::parallel::SharedMut;
use super::running_softmax::{Running, scale_by, soften};
use super::simd::{Kernel, Simd};

/// Queries of one task; a multiple of every level's tile.
pub(crate) const TASK_ROWS: usize = 48;

/// Up to here, the query heads that share a key head are stacked into one task, so that a key is
/// read once for all of them.
pub(crate) const STACKED_ROWS: usize = 12;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch::EMPTY)
    };
}

/// Buffers of a task. A row is one query of one head, heads first.
struct Scratch {
    /// `[rows, head_dim]`.
    queries: Vec<f32>,
    /// `[rows, 64]`: scores, then probabilities.
    scores: Vec<f32>,
    /// `[rows, value_stride]`: sums of values, not yet divided.
    sums: Vec<f32>,
    /// Keys and values of a page as f32, where the form or several tiles of queries want them so.
    widened: [Vec<f32>; 2],
}

impl Scratch {
    const EMPTY: Self = Self {
        queries: Vec::new(),
        scores: Vec::new(),
        sums: Vec::new(),
        widened: [Vec::new(), Vec::new()],
    };
}

/// What all tasks share.
pub(crate) struct AttendCall<'a> {
    pub(crate) shape: &'a AttentionShape,
    pub(crate) queries: &'a [f32],
    pub(crate) stride: usize,
    /// `[rows, heads * head_dim]`.
    pub(crate) out: SharedMut<f32>,
    /// `[rows, heads]`.
    pub(crate) log_sums: Option<SharedMut<f32>>,
}

/// Rows of some heads that share a key head, over pages of `F`.
#[derive(Clone)]
pub(crate) struct AttendTask<'a, F> {
    call: &'a AttendCall<'a>,
    segment: &'a Segment<'a>,
    rows: Range<usize>,
    heads: Range<usize>,
    form: PhantomData<F>,
}

impl<F: KvForm> Kernel for AttendTask<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let shape = self.call.shape;
        let value_stride = shape.value_stride();
        let n_rows = self.n_rows();
        let first_token = self.segment.n_past + self.rows.start - self.segment.rows.start;
        let n_tokens = first_token + self.rows.len();
        let kv_head = self.heads.start / (shape.n_heads / shape.n_kv_heads);
        let mut scratch = SCRATCH.replace(Scratch::EMPTY);
        self.gather(&mut scratch.queries);
        scratch.scores.resize(n_rows * PAGE_TOKENS, 0.0);
        scratch.sums.clear();
        scratch.sums.resize(n_rows * value_stride, 0.0);
        let mut running = [Running::START; TASK_ROWS];
        let first_page = shape.visible(first_token).start / PAGE_TOKENS;
        for page in first_page..n_tokens.div_ceil(PAGE_TOKENS) {
            let first_key = page * PAGE_TOKENS;
            let n_keys = PAGE_TOKENS.min(n_tokens - first_key);
            let page = self.segment.page(page);
            let token = |row: usize| first_token + row % self.rows.len();
            let visible = |row| part_of(&shape.visible(token(row)), first_key, n_keys);
            let mut widened = mem::take(&mut scratch.widened);
            match F::read(s, (page, kv_head), shape, n_rows, &mut widened) {
                ReadHead::Held(page) => {
                    self.add_page(s, (&page, n_keys), visible, &mut scratch, &mut running);
                }
                ReadHead::Widened(page) => {
                    self.add_page(s, (&page, n_keys), visible, &mut scratch, &mut running);
                }
            }
            scratch.widened = widened;
        }
        self.finish(&scratch.sums, &running);
        SCRATCH.set(scratch);
    }
}

impl<'a, F: KvForm> AttendTask<'a, F> {
    /// The rows are the segment's, the heads share a key head, and their product is at most
    /// [`TASK_ROWS`].
    pub(crate) fn new(
        call: &'a AttendCall<'a>,
        segment: &'a Segment<'a>,
        rows: Range<usize>,
        heads: Range<usize>,
    ) -> Self {
        debug_assert!(rows.len() * heads.len() <= TASK_ROWS);
        Self {
            call,
            segment,
            rows,
            heads,
            form: PhantomData,
        }
    }

    fn n_rows(&self) -> usize {
        self.rows.len() * self.heads.len()
    }

    /// Copies the queries, head by head, turned where the keys are.
    fn gather(&self, to: &mut Vec<f32>) {
        let head_dim = self.call.shape.head_dim;
        to.clear();
        for head in self.heads.clone() {
            for row in self.rows.clone() {
                let at = row * self.call.stride + head * head_dim;
                to.extend_from_slice(&self.call.queries[at..at + head_dim]);
            }
        }
        if F::ROTATED {
            rotate_heads(to, head_dim);
        }
    }

    /// Scores of one page's keys, and their part of the sums of values.
    #[inline(always)]
    fn add_page<S: Simd, X: KvElement>(
        &self,
        s: S,
        (page, n_keys): (&PageHead<'_, X>, usize),
        visible: impl Fn(usize) -> Range<usize>,
        scratch: &mut Scratch,
        running: &mut [Running],
    ) {
        self.score(s, page, n_keys, scratch);
        self.soften(s, page, visible, scratch, running);
        let (n_rows, value_stride) = (self.n_rows(), self.call.shape.value_stride());
        // SAFETY: the scores are `[n_rows, 64]`.
        unsafe {
            let left = by_rows(&scratch.scores);
            let values = Right::panels(page.values, 2 * S::LANES);
            add_product(
                s,
                n_rows,
                left,
                values,
                n_keys,
                &mut scratch.sums,
                value_stride,
            );
        }
    }

    /// `Q Kᵀ` for one page; what lies behind `n_keys` means nothing.
    #[inline(always)]
    fn score<S: Simd, X: KvElement>(
        &self,
        s: S,
        page: &PageHead<'_, X>,
        n_keys: usize,
        scratch: &mut Scratch,
    ) {
        let (n_rows, head_dim) = (self.n_rows(), self.call.shape.head_dim);
        let left = Left {
            values: scratch.queries.as_ptr(),
            row_stride: head_dim,
            depth_stride: 1,
        };
        let scores = &mut scratch.scores;
        // SAFETY: the queries are `[n_rows, head_dim]`.
        unsafe { score_page(s, n_rows, left, page.keys, head_dim, n_keys, scores) };
    }

    /// Scores to probabilities, with the scales of keys and values where there are any.
    #[inline(always)]
    fn soften<S: Simd, X>(
        &self,
        s: S,
        page: &PageHead<'_, X>,
        visible: impl Fn(usize) -> Range<usize>,
        scratch: &mut Scratch,
        running: &mut [Running],
    ) {
        let shape = self.call.shape;
        let scale = 1.0 / (shape.head_dim as f32).sqrt();
        let rows = scratch.scores.chunks_exact_mut(PAGE_TOKENS);
        let rows = rows
            .zip(scratch.sums.chunks_exact_mut(shape.value_stride()))
            .zip(running);
        for (row, ((scores, sums), running)) in rows.enumerate() {
            if F::Element::SCALED {
                scale_by(s, scores, page.key_scales);
            }
            soften(s, scores, visible(row), scale, running, sums);
            if F::Element::SCALED {
                scale_by(s, scores, page.value_scales);
            }
        }
    }

    #[inline(always)]
    fn finish(&self, sums: &[f32], running: &[Running]) {
        let shape = self.call.shape;
        let (head_dim, width) = (shape.head_dim, shape.n_heads * shape.head_dim);
        let rows = self.heads.clone();
        let rows = rows.flat_map(|head| self.rows.clone().map(move |row| (row, head)));
        let sums = sums.chunks_exact(shape.value_stride()).zip(running);
        for ((row, head), (sums, running)) in rows.zip(sums) {
            let inverse = 1.0 / running.sum;
            if let Some(log_sums) = self.call.log_sums {
                let at = row * shape.n_heads + head;
                // SAFETY: this head of this row is this task's.
                unsafe { log_sums.ptr().add(at).write(running.max + running.sum.ln()) };
            }
            for (i, sum) in sums[..head_dim].iter().enumerate() {
                // SAFETY: this head's part of this row is this task's.
                unsafe {
                    let at = row * width + head * head_dim + i;
                    self.call.out.ptr().add(at).write(sum * inverse);
                }
            }
        }
    }
}
