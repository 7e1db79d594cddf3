//! Causal attention over keys and values in pages.
//!
//! The keys are taken page by page with a running maximum and sum, so no `[seq, seq]` matrix is
//! ever held. Pages are cut at fixed positions of the sequence: a query's result has the same bits
//! whether it is computed alone, with others, or in another chunk of the prompt.
//!
//! Source: Dao et al. (2022), algorithm 1, <https://arxiv.org/abs/2205.14135>; pages: Kwon et al.
//! (2023), section 4, <https://arxiv.org/abs/2309.06180>.

#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one result through a pointer"
)]

use std::cell::RefCell;
use std::ops::Range;

use super::aligned::AlignedBuffer;
use super::float_panel::F32Panel;
use super::float_tile::{Depth, Left, Out, tile_rows};
use super::gemm::panel_width;
use super::level::SimdLevel;
use super::math::exp;
use super::panel_matrix::Start;
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};

/// Tokens of a page.
pub(crate) const PAGE_TOKENS: usize = 64;

/// Queries of one task; a multiple of every level's tile.
pub(crate) const TASK_ROWS: usize = 48;

thread_local! {
    /// Scores and running results of a task.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { scores: Vec::new(), rows: Vec::new() }) };
}

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

    fn page_len(&self) -> usize {
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
            let panel = &mut keys[place / width * width * head_dim..][..width * head_dim];
            for (row, x) in panel.chunks_exact_mut(width).zip(key) {
                row[place % width] = *x;
            }
            values[place * shape.value_stride()..][..head_dim].copy_from_slice(value);
        }
    }

    /// Bytes in memory.
    pub fn n_bytes(&self) -> usize {
        self.0.n_bytes()
    }
}

/// Queries of one sequence among the rows of a batch.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// The rows, one after the other.
    pub rows: Range<usize>,
    /// Tokens of the sequence before the first row.
    pub n_past: usize,
    /// The sequence's pages. Those of the rows themselves are written already.
    pub pages: &'a [KvPage],
}

/// `softmax(Q Kᵀ / sqrt(head_dim)) V`, each query over the keys up to its own.
///
/// # Shapes
/// `queries`: rows of `stride` values that begin with `[heads, head_dim]`; `out`:
/// `[rows, heads * head_dim]`.
///
/// # Panics
/// When a segment's rows are not in both, or its pages do not reach its last row.
pub fn attend(
    shape: &AttentionShape,
    queries: &[f32],
    stride: usize,
    segments: &[Segment<'_>],
    out: &mut [f32],
) {
    attend_and_sum(shape, queries, stride, segments, out, None);
}

/// As [`attend`]; also gives the logarithm of each softmax's denominator, `[rows, heads]`, which
/// the backward pass wants.
///
/// # Panics
/// As [`attend`].
pub fn attend_and_sum(
    shape: &AttentionShape,
    queries: &[f32],
    stride: usize,
    segments: &[Segment<'_>],
    out: &mut [f32],
    log_sums: Option<&mut [f32]>,
) {
    let width = shape.n_heads * shape.head_dim;
    assert!(width <= stride, "queries are narrower than their heads");
    let mut tasks = Vec::new();
    for segment in segments {
        let (end, n_tokens) = (segment.rows.end, segment.n_past + segment.rows.len());
        assert!(
            end * stride <= queries.len() && end * width <= out.len(),
            "rows of a segment"
        );
        if let Some(log_sums) = &log_sums {
            assert!(end * shape.n_heads <= log_sums.len(), "rows of a segment");
        }
        assert!(
            n_tokens <= segment.pages.len() * PAGE_TOKENS,
            "pages of a segment"
        );
        for page in segment.pages {
            assert_eq!(
                page.n_bytes(),
                4 * shape.page_len(),
                "a page of another shape"
            );
        }
        for first in segment.rows.clone().step_by(TASK_ROWS) {
            let rows = first..end.min(first + TASK_ROWS);
            tasks.extend((0..shape.n_heads).map(|head| (segment, rows.clone(), head)));
        }
    }
    // The longest first: they are the last blocks.
    tasks.reverse();
    let out = SharedMut::new(out);
    let log_sums = log_sums.map(SharedMut::new);
    for_each(tasks.len(), |task| {
        let (segment, rows, head) = &tasks[task];
        let task = AttendTask {
            shape,
            queries,
            stride,
            segment,
            rows: rows.clone(),
            head: *head,
            out,
            log_sums,
        };
        dispatch(shape.level, task);
    });
}

/// Some queries of one head.
struct AttendTask<'a> {
    shape: &'a AttentionShape,
    queries: &'a [f32],
    stride: usize,
    segment: &'a Segment<'a>,
    rows: Range<usize>,
    head: usize,
    out: SharedMut<f32>,
    log_sums: Option<SharedMut<f32>>,
}

#[derive(Default)]
struct Scratch {
    /// `[rows, 64]`: scores, then probabilities.
    scores: Vec<f32>,
    /// `[rows, value_stride]`: sums of values, not yet divided.
    rows: Vec<f32>,
}

/// A query's running maximum and sum.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

impl Kernel for AttendTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (head_dim, value_stride) = (self.shape.head_dim, self.shape.value_stride());
        let n_rows = self.rows.len();
        let first_token = self.segment.n_past + self.rows.start - self.segment.rows.start;
        let n_tokens = first_token + n_rows;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mut scratch = SCRATCH.take();
        scratch.scores.resize(n_rows * PAGE_TOKENS, 0.0);
        scratch.rows.clear();
        scratch.rows.resize(n_rows * value_stride, 0.0);
        let mut running = [Running {
            max: f32::NEG_INFINITY,
            sum: 0.0,
        }; TASK_ROWS];
        for (page, first_key) in (0..n_tokens).step_by(PAGE_TOKENS).enumerate() {
            let n_keys = PAGE_TOKENS.min(n_tokens - first_key);
            let (keys, values) = self.page(page);
            self.scores(s, keys, n_keys, &mut scratch.scores);
            let rows = scratch.scores.chunks_exact_mut(PAGE_TOKENS);
            let rows = rows
                .zip(scratch.rows.chunks_exact_mut(value_stride))
                .zip(&mut running);
            for (row, ((scores, sums), running)) in rows.enumerate() {
                let n_visible = (first_token + row + 1)
                    .saturating_sub(first_key)
                    .min(n_keys);
                soften(s, scores, n_visible, scale, running, sums);
            }
            let left = Left {
                values: scratch.scores.as_ptr(),
                row_stride: PAGE_TOKENS,
                depth_stride: 1,
            };
            for column in (0..value_stride).step_by(2 * S::LANES) {
                // SAFETY: the page holds `n_keys` rows of values, `value_stride` wide; the sums
                // are `[n_rows, value_stride]`.
                unsafe {
                    let panel = F32Panel {
                        values: values.as_ptr().add(column),
                        stride: value_stride,
                    };
                    let out = Out {
                        values: scratch.rows.as_mut_ptr().add(column),
                        stride: value_stride,
                    };
                    let depth = Depth {
                        first: 0,
                        n: n_keys,
                    };
                    tile_rows(s, n_rows, left, panel, depth, out, Start::Accumulate);
                }
            }
        }
        self.finish(&scratch.rows, &running);
        SCRATCH.set(scratch);
    }
}

impl AttendTask<'_> {
    /// Keys and values of this head in a page.
    #[inline(always)]
    fn page(&self, page: usize) -> (&[f32], &[f32]) {
        let kv_head = self.head / (self.shape.n_heads / self.shape.n_kv_heads);
        let head_len = self.shape.head_len();
        let page = &self.segment.pages[page].0.values::<f32>()[kv_head * head_len..][..head_len];
        page.split_at(PAGE_TOKENS * self.shape.head_dim)
    }

    /// `Q Kᵀ` for one page, `[rows, 64]`; what lies behind `n_keys` means nothing.
    #[inline(always)]
    fn scores<S: Simd>(&self, s: S, keys: &[f32], n_keys: usize, scores: &mut [f32]) {
        let (head_dim, width) = (self.shape.head_dim, 2 * S::LANES);
        let queries = &self.queries[self.rows.start * self.stride + self.head * head_dim..];
        let left = Left {
            values: queries.as_ptr(),
            row_stride: self.stride,
            depth_stride: 1,
        };
        for first in (0..n_keys).step_by(width) {
            // SAFETY: the page has a panel of keys from `first` on; the queries are the task's
            // rows; the scores are `[rows, 64]`.
            unsafe {
                let panel = F32Panel {
                    values: keys.as_ptr().add(first * head_dim),
                    stride: width,
                };
                let out = Out {
                    values: scores.as_mut_ptr().add(first),
                    stride: PAGE_TOKENS,
                };
                let depth = Depth {
                    first: 0,
                    n: head_dim,
                };
                tile_rows(s, self.rows.len(), left, panel, depth, out, Start::Zero);
            }
        }
    }

    #[inline(always)]
    fn finish(&self, sums: &[f32], running: &[Running]) {
        let (head_dim, width) = (
            self.shape.head_dim,
            self.shape.n_heads * self.shape.head_dim,
        );
        let rows = sums.chunks_exact(self.shape.value_stride()).zip(running);
        for (row, (sums, running)) in self.rows.clone().zip(rows) {
            let inverse = 1.0 / running.sum;
            if let Some(log_sums) = self.log_sums {
                let at = row * self.shape.n_heads + self.head;
                // SAFETY: this head of this row is this task's.
                unsafe { log_sums.ptr().add(at).write(running.max + running.sum.ln()) };
            }
            for (i, sum) in sums[..head_dim].iter().enumerate() {
                // SAFETY: this head's part of this row is this task's.
                unsafe {
                    let at = row * width + self.head * head_dim + i;
                    self.out.ptr().add(at).write(sum * inverse);
                }
            }
        }
    }
}

/// Turns the scores of a page into probabilities relative to the running maximum, and what was
/// summed before to the new one.
#[inline(always)]
fn soften<S: Simd>(
    s: S,
    scores: &mut [f32],
    n_visible: usize,
    scale: f32,
    running: &mut Running,
    sums: &mut [f32],
) {
    if n_visible == 0 {
        return scores.fill(0.0);
    }
    scores[n_visible..].fill(f32::NEG_INFINITY);
    let mut max = s.splat(f32::NEG_INFINITY);
    for at in (0..PAGE_TOKENS).step_by(S::LANES) {
        // SAFETY: the scores of a row are 64, a multiple of every level's lanes.
        max = s.max(max, unsafe { s.load(scores.as_ptr().add(at)) });
    }
    let new_max = running.max.max(s.reduce_max(max) * scale);
    for at in (0..PAGE_TOKENS).step_by(S::LANES) {
        // SAFETY: as above.
        unsafe {
            let score = s.load(scores.as_ptr().add(at));
            let p = exp(s, s.sub(s.mul(score, s.splat(scale)), s.splat(new_max)));
            s.store(scores.as_mut_ptr().add(at), p);
        }
    }
    // `exp` gives no zero.
    scores[n_visible..].fill(0.0);
    let mut sum = s.splat(0.0);
    for at in (0..PAGE_TOKENS).step_by(S::LANES) {
        // SAFETY: as above.
        sum = s.add(sum, unsafe { s.load(scores.as_ptr().add(at)) });
    }
    if new_max > running.max {
        let correction = s.reduce_max(exp(s, s.splat(running.max - new_max)));
        running.sum *= correction;
        for at in (0..sums.len()).step_by(S::LANES) {
            // SAFETY: the sums of a row are whole panels.
            unsafe {
                let old = s.load(sums.as_ptr().add(at));
                s.store(sums.as_mut_ptr().add(at), s.mul(old, s.splat(correction)));
            }
        }
    }
    running.max = new_max;
    running.sum += s.reduce_add(sum);
}
