//! Attention in which every token of a text sees every other: an encoder's.
//!
//! A task is one head of one text: its scores are computed for some queries at a time by the
//! products of floats that linear layers use.

use std::cell::RefCell;
use std::ops::Range;

use super::dense_panel::RowMajor;
use super::float_matmul::few_rows_product_alone;
use super::gemm::{FEW_ROWS, Product, panel_width};
use super::level::SimdLevel;
use super::math::exp;
use super::panel_matrix::Start;
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};

/// Queries whose scores are held at once: so few that products read them as they lie, without a copy.
const QUERIES: usize = FEW_ROWS;

/// Keys are filled up with zeros to whole panels of every level.
const PANEL: usize = 32;

/// Queries, keys and values of rows, as a linear layer without its bias computed them.
#[derive(Clone, Copy, Debug)]
pub struct EncoderRows<'a> {
    /// `[rows, 3 * n_heads * head_dim]`: a row's queries, then its keys, then its values.
    pub qkv: &'a [f32],
    /// Added to every row, `[3 * n_heads * head_dim]`.
    pub bias: &'a [f32],
    /// Heads; those of keys and values are as many.
    pub n_heads: usize,
}

/// `softmax(q kᵀ / sqrt(head_dim)) v` for each head and each text, `[rows, n_heads * head_dim]`.
///
/// `texts` says which rows are a text's. A text's result depends on its own rows alone.
///
/// Source: Vaswani et al. (2017), equation 1, <https://arxiv.org/abs/1706.03762>.
///
/// # Panics
/// When the lengths do not fit, or the texts are not one behind the other within the rows.
pub fn attend_within(
    level: SimdLevel,
    rows: EncoderRows<'_>,
    texts: &[Range<usize>],
    out: &mut [f32],
) {
    let width = rows.bias.len() / 3;
    assert!(
        rows.n_heads > 0 && width > 0 && width.is_multiple_of(rows.n_heads),
        "whole heads"
    );
    assert_eq!(rows.bias.len(), 3 * width, "length of the bias");
    assert_eq!(rows.qkv.len(), 3 * out.len(), "length of the result");
    assert!(out.len().is_multiple_of(width), "whole rows");
    let mut end = 0;
    for text in texts {
        assert!(
            end <= text.start && text.start <= text.end,
            "texts in order"
        );
        end = text.end;
    }
    assert!(end <= out.len() / width, "texts within the rows");
    let out = SharedMut::new(out);
    for_each(texts.len() * rows.n_heads, |i| {
        let head = Head {
            level,
            rows,
            text: texts[i / rows.n_heads].clone(),
            index: i % rows.n_heads,
            head_dim: width / rows.n_heads,
        };
        let mut buffers = BUFFERS.take();
        head.attend(&mut buffers, out);
        BUFFERS.set(buffers);
    });
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// One head of one text, copied together.
#[derive(Default)]
struct Buffers {
    /// `[queries, head_dim]`, scaled.
    queries: Vec<f32>,
    /// `[head_dim, tokens]`, filled up.
    keys: Vec<f32>,
    /// `[tokens, head_dim]`, filled up.
    values: Vec<f32>,
    /// `[queries, tokens]`, filled up.
    scores: Vec<f32>,
    /// `1 / Σ` of each query's row of scores.
    inverse_sums: Vec<f32>,
    /// `[queries, head_dim]`.
    mixed: Vec<f32>,
}

struct Head<'a> {
    level: SimdLevel,
    rows: EncoderRows<'a>,
    text: Range<usize>,
    index: usize,
    head_dim: usize,
}

impl Head<'_> {
    #[expect(unsafe_code, reason = "threads write disjoint heads of the result")]
    fn attend(&self, buffers: &mut Buffers, out: SharedMut<f32>) {
        let (n_tokens, head_dim) = (self.text.len(), self.head_dim);
        let n_filled = n_tokens.next_multiple_of(PANEL);
        self.copy_keys_and_values(n_filled, buffers);
        let keys = RowMajor::new(&buffers.keys, n_filled, panel_width(self.level));
        let values = RowMajor::new(&buffers.values, head_dim, panel_width(self.level));
        for first in (0..n_tokens).step_by(QUERIES) {
            let queries = first..n_tokens.min(first + QUERIES);
            let n = queries.len();
            self.copy_queries(queries, &mut buffers.queries);
            buffers.scores.resize(n * n_filled, 0.0);
            let scores = Product::new(&mut buffers.scores, n_filled, [n, n_filled], Start::Zero);
            few_rows_product_alone(self.level, &buffers.queries, head_dim, &keys, &scores);
            let softmax = Softmax {
                scores: &mut buffers.scores,
                n_tokens,
                n_filled,
                inverse_sums: &mut buffers.inverse_sums,
            };
            dispatch(self.level, softmax);
            buffers.mixed.resize(n * head_dim, 0.0);
            let mixed = Product::new(&mut buffers.mixed, head_dim, [n, head_dim], Start::Zero);
            few_rows_product_alone(self.level, &buffers.scores, n_filled, &values, &mixed);
            let rows = buffers.mixed.chunks_exact(head_dim);
            for (i, (row, inverse)) in rows.zip(&buffers.inverse_sums).enumerate() {
                let width = self.rows.n_heads * head_dim;
                let at = (self.text.start + first + i) * width + self.index * head_dim;
                // SAFETY: this head's part of a row of this text, which only this task writes.
                let out = unsafe { std::slice::from_raw_parts_mut(out.skip(at).ptr(), head_dim) };
                for (out, x) in out.iter_mut().zip(row) {
                    *out = x * inverse;
                }
            }
        }
    }

    /// Queries (0), keys (1) or values (2) of a row of this head, and their bias.
    fn part(&self, row: usize, part: usize) -> (&[f32], &[f32]) {
        let stride = self.rows.bias.len();
        let at = part * stride / 3 + self.index * self.head_dim;
        let row = &self.rows.qkv[(self.text.start + row) * stride..][..stride];
        (
            &row[at..][..self.head_dim],
            &self.rows.bias[at..][..self.head_dim],
        )
    }

    fn copy_queries(&self, queries: Range<usize>, copied: &mut Vec<f32>) {
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        copied.clear();
        for row in queries {
            let (row, bias) = self.part(row, 0);
            copied.extend(row.iter().zip(bias).map(|(q, bias)| (q + bias) * scale));
        }
    }

    fn copy_keys_and_values(&self, n_filled: usize, buffers: &mut Buffers) {
        let n_tokens = self.text.len();
        buffers.keys.clear();
        buffers.keys.resize(self.head_dim * n_filled, 0.0);
        buffers.values.clear();
        for row in 0..n_tokens {
            let (keys, bias) = self.part(row, 1);
            let column = buffers.keys[row..].iter_mut().step_by(n_filled);
            for (copied, (k, bias)) in column.zip(keys.iter().zip(bias)) {
                *copied = k + bias;
            }
            let (values, bias) = self.part(row, 2);
            let sums = values.iter().zip(bias).map(|(v, bias)| v + bias);
            buffers.values.extend(sums);
        }
        buffers.values.resize(n_filled * self.head_dim, 0.0);
    }
}

/// Turns rows of scores into `exp(score − max)`, zeros where there is no token.
struct Softmax<'a> {
    scores: &'a mut [f32],
    n_tokens: usize,
    n_filled: usize,
    inverse_sums: &'a mut Vec<f32>,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads and stores")]
    fn run<S: Simd>(self, s: S) {
        self.inverse_sums.clear();
        for row in self.scores.chunks_exact_mut(self.n_filled) {
            row[self.n_tokens..].fill(f32::NEG_INFINITY);
            let mut max = s.splat(f32::NEG_INFINITY);
            for i in (0..self.n_filled).step_by(S::LANES) {
                // SAFETY: a filled row is whole vectors of every level.
                max = s.max(max, unsafe { s.load(row.as_ptr().add(i)) });
            }
            let max = s.splat(s.reduce_max(max));
            for i in (0..self.n_filled).step_by(S::LANES) {
                // SAFETY: as above.
                unsafe {
                    let at = row.as_mut_ptr().add(i);
                    s.store(at, exp(s, s.sub(s.load(at), max)));
                }
            }
            // `exp` gives no zero.
            row[self.n_tokens..].fill(0.0);
            let mut sum = s.splat(0.0);
            for i in (0..self.n_filled).step_by(S::LANES) {
                // SAFETY: as above.
                sum = s.add(sum, unsafe { s.load(row.as_ptr().add(i)) });
            }
            self.inverse_sums.push(1.0 / s.reduce_add(sum));
        }
    }
}
