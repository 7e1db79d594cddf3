//! Gradients of causal attention, the probabilities computed anew page by page.
//!
//! A task has one key head of one sequence and all query heads that share it: whatever it sums up
//! is its own, so the sums have one order on any number of threads.
//!
//! Source: Dao et al. (2022), algorithm 4, <https://arxiv.org/abs/2205.14135>.

#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one result through a pointer"
)]

use std::ops::Range;

use super::attention_task::TASK_ROWS;
use super::attention_tiles::{Right, add_product, by_rows, put_key, score_page};
use super::float_tile::Left;
use super::gemm::panel_width;
use super::kv_page::{AttentionShape, PAGE_TOKENS, part_of};
use super::math::exp;
use super::parallel::{SharedMut, for_each};
use super::running_softmax::fill_around;
use super::simd::{Kernel, Simd, dispatch};

/// What the forward pass had and gave, for sequences one after the other.
#[derive(Debug)]
pub struct AttentionGradient<'a> {
    /// Sizes of the heads.
    pub shape: AttentionShape,
    /// The row where each sequence begins, and the end of the last.
    pub cu_seqlens: &'a [usize],
    /// `[rows, heads * head_dim]`.
    pub queries: &'a [f32],
    /// `[rows, kv_heads * head_dim]`.
    pub keys: &'a [f32],
    /// As the keys.
    pub values: &'a [f32],
    /// As the queries.
    pub out: &'a [f32],
    /// As the queries.
    pub d_out: &'a [f32],
    /// `[rows, heads]`.
    pub log_sums: &'a [f32],
}

/// Writes the gradients of queries, keys and values.
///
/// # Panics
/// When the lengths do not fit.
pub fn attend_backward(
    gradient: &AttentionGradient<'_>,
    d_queries: &mut [f32],
    d_keys: &mut [f32],
    d_values: &mut [f32],
) {
    let shape = gradient.shape;
    let n_rows = gradient.queries.len() / (shape.n_heads * shape.head_dim);
    let kv_len = n_rows * shape.n_kv_heads * shape.head_dim;
    for of_queries in [gradient.out, gradient.d_out, d_queries] {
        assert_eq!(
            of_queries.len(),
            gradient.queries.len(),
            "length of the queries' rows"
        );
    }
    for of_keys in [gradient.keys, gradient.values, d_keys, d_values] {
        assert_eq!(of_keys.len(), kv_len, "length of the keys' rows");
    }
    assert_eq!(
        gradient.log_sums.len(),
        n_rows * shape.n_heads,
        "length of the sums"
    );
    let sequences = gradient.cu_seqlens;
    assert!(sequences.is_sorted(), "sequences one after the other");
    assert_eq!(sequences.last(), Some(&n_rows), "whole sequences");
    let out = [d_queries, d_keys, d_values].map(SharedMut::new);
    let n_tasks = (sequences.len() - 1) * shape.n_kv_heads;
    for_each(n_tasks, |task| {
        let sequence = task / shape.n_kv_heads;
        let task = Task {
            gradient,
            first_row: sequences[sequence],
            seq: sequences[sequence + 1] - sequences[sequence],
            kv_head: task % shape.n_kv_heads,
            out,
        };
        dispatch(shape.level, task);
    });
}

/// One key head of one sequence.
struct Task<'a> {
    gradient: &'a AttentionGradient<'a>,
    first_row: usize,
    /// Its tokens.
    seq: usize,
    kv_head: usize,
    out: [SharedMut<f32>; 3],
}

/// Keys or values of the task: as rows, `[pages * 64, stride]`, and as panels,
/// `[pages * 64 / width, head_dim, width]`.
struct Side {
    rows: Vec<f32>,
    panels: Vec<f32>,
}

/// Queries of one block: their rows and those of the result's gradient, `[rows, stride]`.
struct Block {
    rows: Range<usize>,
    queries: Vec<f32>,
    d_out: Vec<f32>,
    /// `Σ d_out · out` of each row.
    dots: Vec<f32>,
}

/// `[rows, 64]` each.
struct Scores {
    probabilities: Vec<f32>,
    gradients: Vec<f32>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let shape = &self.gradient.shape;
        let (seq, stride) = (self.seq, shape.value_stride());
        let keys = self.side(self.gradient.keys);
        let values = self.side(self.gradient.values);
        let mut d_keys = vec![0.0; keys.rows.len()];
        let mut d_values = vec![0.0; keys.rows.len()];
        let mut scores = Scores {
            probabilities: vec![0.0; TASK_ROWS * PAGE_TOKENS],
            gradients: vec![0.0; TASK_ROWS * PAGE_TOKENS],
        };
        let group = shape.n_heads / shape.n_kv_heads;
        for head in self.kv_head * group..(self.kv_head + 1) * group {
            for first in (0..seq).step_by(TASK_ROWS) {
                let block = self.block(first..seq.min(first + TASK_ROWS), head);
                let mut d_queries = vec![0.0; block.rows.len() * stride];
                let first_page = shape.visible(block.rows.start).start / PAGE_TOKENS;
                for page in first_page..block.rows.end.div_ceil(PAGE_TOKENS) {
                    let first_key = page * PAGE_TOKENS;
                    let n_keys = PAGE_TOKENS.min(block.rows.end - first_key);
                    let page = first_key..first_key + n_keys;
                    self.score(s, &block, head, [&keys, &values], page, &mut scores);
                    let at = first_key * stride;
                    let n_rows = block.rows.len();
                    // dQ += dS K; dK += dSᵀ Q; dV += Pᵀ dO.
                    let rows = by_rows(&scores.gradients);
                    let d_scores = by_columns(&scores.gradients);
                    let probabilities = by_columns(&scores.probabilities);
                    let right = Right::rows(&keys.rows[at..], stride);
                    // SAFETY: scores and gradients are `[n_rows, 64]`, with `n_keys` columns in use.
                    unsafe {
                        add_product(s, n_rows, rows, right, n_keys, &mut d_queries, stride);
                        let (d, right) = (&mut d_keys[at..], Right::rows(&block.queries, stride));
                        add_product(s, n_keys, d_scores, right, n_rows, d, stride);
                        let (d, right) = (&mut d_values[at..], Right::rows(&block.d_out, stride));
                        add_product(s, n_keys, probabilities, right, n_rows, d, stride);
                    }
                }
                self.write(0, block.rows, &d_queries, head, shape.n_heads);
            }
        }
        self.write(1, 0..seq, &d_keys, self.kv_head, shape.n_kv_heads);
        self.write(2, 0..seq, &d_values, self.kv_head, shape.n_kv_heads);
    }
}

/// Scores as the left factor, transposed.
fn by_columns(scores: &[f32]) -> Left {
    Left {
        values: scores.as_ptr(),
        row_stride: 1,
        depth_stride: PAGE_TOKENS,
    }
}

impl Task<'_> {
    /// This head's rows of the sequence, twice.
    fn side(&self, all: &[f32]) -> Side {
        let shape = &self.gradient.shape;
        let (seq, head_dim, stride) = (self.seq, shape.head_dim, shape.value_stride());
        let n_places = seq.next_multiple_of(PAGE_TOKENS);
        let width = panel_width(shape.level);
        let mut side = Side {
            rows: vec![0.0; n_places * stride],
            panels: vec![0.0; n_places * head_dim],
        };
        for token in 0..seq {
            let at = ((self.first_row + token) * shape.n_kv_heads + self.kv_head) * head_dim;
            let row = &all[at..at + head_dim];
            side.rows[token * stride..][..head_dim].copy_from_slice(row);
            put_key(&mut side.panels, width, token, row.iter().copied());
        }
        side
    }

    fn block(&self, rows: Range<usize>, head: usize) -> Block {
        let shape = &self.gradient.shape;
        let (head_dim, stride) = (shape.head_dim, shape.value_stride());
        let mut block = Block {
            queries: vec![0.0; rows.len() * stride],
            d_out: vec![0.0; rows.len() * stride],
            dots: Vec::with_capacity(rows.len()),
            rows: rows.clone(),
        };
        for (i, row) in rows.enumerate() {
            let at = ((self.first_row + row) * shape.n_heads + head) * head_dim;
            let d_out = &self.gradient.d_out[at..at + head_dim];
            let out = &self.gradient.out[at..at + head_dim];
            block.queries[i * stride..][..head_dim]
                .copy_from_slice(&self.gradient.queries[at..at + head_dim]);
            block.d_out[i * stride..][..head_dim].copy_from_slice(d_out);
            block
                .dots
                .push(d_out.iter().zip(out).map(|(d, y)| d * y).sum());
        }
        block
    }

    /// Probabilities of a block over the keys of a page, and the gradients of its scores:
    /// `P = exp(S − log Σ)` and `dS = P (dO Vᵀ − Σ dO·O) / sqrt(head_dim)`.
    #[inline(always)]
    fn score<S: Simd>(
        &self,
        s: S,
        block: &Block,
        head: usize,
        [keys, values]: [&Side; 2],
        page: Range<usize>,
        scores: &mut Scores,
    ) {
        let shape = &self.gradient.shape;
        let (head_dim, stride) = (shape.head_dim, shape.value_stride());
        let n_rows = block.rows.len();
        let products = [
            (&block.queries, keys, &mut scores.probabilities),
            (&block.d_out, values, &mut scores.gradients),
        ];
        for (left, side, out) in products {
            let left = Left {
                values: left.as_ptr(),
                row_stride: stride,
                depth_stride: 1,
            };
            let panels = &side.panels[page.start * head_dim..];
            // SAFETY: `left` is the block's rows, `[rows, stride]`.
            unsafe { score_page(s, n_rows, left, panels, head_dim, page.len(), out) };
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        let rows = scores.probabilities.chunks_exact_mut(PAGE_TOKENS);
        let rows = rows.zip(scores.gradients.chunks_exact_mut(PAGE_TOKENS));
        for ((row, dot), (probabilities, gradients)) in
            block.rows.clone().zip(&block.dots).zip(rows)
        {
            let log_sum = self.gradient.log_sums[(self.first_row + row) * shape.n_heads + head];
            let visible = part_of(&shape.visible(row), page.start, page.len());
            let first = visible.start / S::LANES * S::LANES;
            for at in (first..visible.end).step_by(S::LANES) {
                // SAFETY: a row is 64 wide, a multiple of every level's lanes.
                unsafe {
                    let score = s.load(probabilities.as_ptr().add(at));
                    let p = exp(s, s.sub(s.mul(score, s.splat(scale)), s.splat(log_sum)));
                    let d = s.sub(s.load(gradients.as_ptr().add(at)), s.splat(*dot));
                    let d = s.mul(s.mul(p, d), s.splat(scale));
                    s.store(probabilities.as_mut_ptr().add(at), p);
                    s.store(gradients.as_mut_ptr().add(at), d);
                }
            }
            fill_around(probabilities, &visible, 0.0);
            fill_around(gradients, &visible, 0.0);
        }
    }

    /// Copies rows `[rows, stride]` of one head to result number `which`.
    fn write(&self, which: usize, rows: Range<usize>, from: &[f32], head: usize, n_heads: usize) {
        let shape = &self.gradient.shape;
        for (row, from) in rows.zip(from.chunks_exact(shape.value_stride())) {
            let at = ((self.first_row + row) * n_heads + head) * shape.head_dim;
            // SAFETY: this head of this row is this task's.
            unsafe {
                let to = self.out[which].ptr().add(at);
                std::ptr::copy_nonoverlapping(from.as_ptr(), to, shape.head_dim);
            }
        }
    }
}
