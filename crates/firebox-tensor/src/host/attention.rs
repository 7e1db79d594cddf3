//! Causal attention over keys and values in pages.
//!
//! The keys are taken page by page with a running maximum and sum, so no `[seq, seq]` matrix is
//! ever held. Pages are cut at fixed positions of the sequence: a query's result has the same bits
//! whether it is computed alone, with others, or in another chunk of the prompt.
//!
//! Source: Dao et al. (2022), algorithm 1, <https://arxiv.org/abs/2205.14135>; pages: Kwon et al.
//! (2023), section 4, <https://arxiv.org/abs/2309.06180>.

use std::ops::Range;

use super::attention_task::{AttendCall, AttendTask, STACKED_ROWS, TASK_ROWS};
use super::kv_form::KvForm;
use super::kv_format::KvFormat;
use super::kv_int4::Int4;
use super::kv_page::{AttentionShape, KvPage, PAGE_TOKENS};
use super::parallel::{SharedMut, for_each};
use super::simd::dispatch;

/// Queries of one sequence among the rows of a batch.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// The rows, one after the other.
    pub rows: Range<usize>,
    /// Tokens of the sequence before the first row.
    pub n_past: usize,
    /// Pages of this layer, those of other sequences among them.
    pub pages: &'a [KvPage],
    /// Which of them are the sequence's, first to last. Those of the rows themselves are written
    /// already.
    pub table: &'a [u32],
}

impl Segment<'_> {
    /// The sequence's `i`-th page.
    #[inline(always)]
    pub(super) fn page(&self, i: usize) -> &KvPage {
        &self.pages[self.table[i] as usize]
    }
}

/// `softmax(Q Kᵀ / sqrt(head_dim)) V`, each query over the keys up to its own, the last ones where
/// the shape has a window; pages before it are not read.
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
    check(
        shape,
        queries,
        stride,
        segments,
        [
            out.len(),
            log_sums.as_ref().map_or(usize::MAX, |sums| sums.len()),
        ],
    );
    let call = AttendCall {
        shape,
        queries,
        stride,
        out: SharedMut::new(out),
        log_sums: log_sums.map(SharedMut::new),
    };
    match shape.kv_format {
        KvFormat::F32 => attend_as::<f32>(&call, segments),
        KvFormat::F16 => attend_as::<u16>(&call, segments),
        KvFormat::Int8 => attend_as::<i8>(&call, segments),
        KvFormat::Int4 => attend_as::<Int4>(&call, segments),
    }
}

/// # Panics
/// As [`attend`].
fn check(
    shape: &AttentionShape,
    queries: &[f32],
    stride: usize,
    segments: &[Segment<'_>],
    [out_len, log_sums_len]: [usize; 2],
) {
    let width = shape.n_heads * shape.head_dim;
    assert!(width <= stride, "queries are narrower than their heads");
    for segment in segments {
        let (end, n_tokens) = (segment.rows.end, segment.n_past + segment.rows.len());
        assert!(
            end * stride <= queries.len()
                && end * width <= out_len
                && end * shape.n_heads <= log_sums_len,
            "rows of a segment"
        );
        assert!(
            n_tokens <= segment.table.len() * PAGE_TOKENS,
            "pages of a segment"
        );
        for i in 0..segment.table.len() {
            assert_eq!(
                segment.page(i).n_bytes(),
                shape.page_bytes(),
                "a page of another shape"
            );
        }
    }
}

fn attend_as<F: KvForm>(call: &AttendCall<'_>, segments: &[Segment<'_>]) {
    let shape = call.shape;
    let n_rows = segments.iter().map(|segment| segment.rows.len());
    let n_tasks: usize = n_rows.map(|n| n_tasks_of(shape, n)).sum();
    for_each(n_tasks, |task| {
        // The longest first: they are the last blocks.
        let mut place = n_tasks - 1 - task;
        for segment in segments {
            let n = n_tasks_of(shape, segment.rows.len());
            if place < n {
                let (rows, heads) = cut(shape, &segment.rows, place);
                let task = AttendTask::<F>::new(call, segment, rows, heads);
                return dispatch(shape.level, task);
            }
            place -= n;
        }
    });
}

/// Query heads that are stacked in a task of `n_rows`.
fn n_stacked(shape: &AttentionShape, n_rows: usize) -> usize {
    (STACKED_ROWS / n_rows).clamp(1, shape.n_heads / shape.n_kv_heads)
}

/// Tasks of one block of `n_rows`, at most [`TASK_ROWS`].
fn n_tasks_of_block(shape: &AttentionShape, n_rows: usize) -> usize {
    let group = shape.n_heads / shape.n_kv_heads;
    shape.n_kv_heads * group.div_ceil(n_stacked(shape, n_rows))
}

/// Tasks of a segment of `n_rows`: whole blocks, then what is left.
fn n_tasks_of(shape: &AttentionShape, n_rows: usize) -> usize {
    let whole = n_rows / TASK_ROWS * n_tasks_of_block(shape, TASK_ROWS);
    match n_rows % TASK_ROWS {
        0 => whole,
        rest => whole + n_tasks_of_block(shape, rest),
    }
}

/// Rows and heads of a segment's task: found by its number, so that nothing is kept of them.
fn cut(shape: &AttentionShape, rows: &Range<usize>, task: usize) -> (Range<usize>, Range<usize>) {
    // A block that is not whole has no more tasks than a whole one.
    let block = task / n_tasks_of_block(shape, TASK_ROWS);
    let first = rows.start + block * TASK_ROWS;
    let rows = first..rows.end.min(first + TASK_ROWS);
    let task = task - block * n_tasks_of_block(shape, TASK_ROWS);
    let group = shape.n_heads / shape.n_kv_heads;
    let n_heads = n_stacked(shape, rows.len());
    let per_kv_head = group.div_ceil(n_heads);
    let (kv_head, head) = (task / per_kv_head, task % per_kv_head * n_heads);
    let first_head = kv_head * group + head;
    (rows, first_head..first_head + n_heads.min(group - head))
}
