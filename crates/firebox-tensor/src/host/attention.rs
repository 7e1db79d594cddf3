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
use super::kv_element::KvElement;
use super::kv_format::KvFormat;
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
    /// The sequence's pages. Those of the rows themselves are written already.
    pub pages: &'a [KvPage],
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
            n_tokens <= segment.pages.len() * PAGE_TOKENS,
            "pages of a segment"
        );
        for page in segment.pages {
            assert_eq!(
                page.n_bytes(),
                shape.page_bytes(),
                "a page of another shape"
            );
        }
    }
}

fn attend_as<E: KvElement>(call: &AttendCall<'_>, segments: &[Segment<'_>]) {
    let shape = call.shape;
    let group = shape.n_heads / shape.n_kv_heads;
    let mut tasks = Vec::new();
    for segment in segments {
        let end = segment.rows.end;
        for first in segment.rows.clone().step_by(TASK_ROWS) {
            let rows = first..end.min(first + TASK_ROWS);
            let n_heads = (STACKED_ROWS / rows.len()).clamp(1, group);
            for kv_head in 0..shape.n_kv_heads {
                for head in (0..group).step_by(n_heads) {
                    let first_head = kv_head * group + head;
                    let heads = first_head..first_head + n_heads.min(group - head);
                    tasks.push(AttendTask::<E>::new(call, segment, rows.clone(), heads));
                }
            }
        }
    }
    // The longest first: they are the last blocks.
    tasks.reverse();
    for_each(tasks.len(), |task| {
        dispatch(shape.level, tasks[task].clone())
    });
}
