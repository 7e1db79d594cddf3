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

use super::attention_tiles::{add_product, by_rows, score_page};
use super::float_tile::Left;
use super::kv_page::{AttentionShape, KvPage, PAGE_TOKENS};
use super::math::exp;
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};

/// Queries of one task; a multiple of every level's tile.
pub(crate) const TASK_ROWS: usize = 48;

thread_local! {
    /// Scores and running results of a task.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { scores: Vec::new(), rows: Vec::new() }) };
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
            let left = by_rows(&scratch.scores);
            // SAFETY: the scores are `[n_rows, 64]`.
            unsafe {
                let sums = &mut scratch.rows;
                add_product(s, n_rows, left, values, n_keys, sums, value_stride);
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
        self.segment.pages[page].head(self.shape, kv_head)
    }

    /// `Q Kᵀ` for one page, `[rows, 64]`; what lies behind `n_keys` means nothing.
    #[inline(always)]
    fn scores<S: Simd>(&self, s: S, keys: &[f32], n_keys: usize, scores: &mut [f32]) {
        let head_dim = self.shape.head_dim;
        let queries = &self.queries[self.rows.start * self.stride + self.head * head_dim..];
        let left = Left {
            values: queries.as_ptr(),
            row_stride: self.stride,
            depth_stride: 1,
        };
        // SAFETY: the queries are the task's rows.
        unsafe { score_page(s, self.rows.len(), left, keys, head_dim, n_keys, scores) };
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
