//! Products of training in f32: the `gemm` crate's, which reads its factors as they lie and writes
//! into memory that is there.
//!
//! burn-flex multiplies with it, too, but fills and copies every result on one thread before, and cannot
//! add to one.

#![expect(unsafe_code, reason = "the crate takes pointers")]

use gemm::Parallelism;

use super::panel_matrix::Start;
use super::parallel::n_threads;

/// Multiplications below which one thread is done sooner than several.
const ALONE_BELOW: usize = 1 << 20;

/// A factor: element `(row, column)` lies at `row * strides[0] + column * strides[1]`.
struct Factor<'a> {
    values: &'a [f32],
    strides: [usize; 2],
}

impl<'a> Factor<'a> {
    /// Rows of `width`.
    fn rows(values: &'a [f32], width: usize) -> Self {
        Self {
            values,
            strides: [width, 1],
        }
    }

    /// Rows of `width`, read as columns.
    fn columns(values: &'a [f32], width: usize) -> Self {
        Self {
            values,
            strides: [1, width],
        }
    }

    fn reaches(&self, [rows, columns]: [usize; 2]) -> bool {
        let last =
            rows.saturating_sub(1) * self.strides[0] + columns.saturating_sub(1) * self.strides[1];
        rows * columns == 0 || last < self.values.len()
    }
}

/// `x Wᵀ`, `[rows, out]`.
///
/// # Shapes
/// `x` `[rows, depth]`, `w` `[out, depth]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn matmul_transposed(x: &[f32], w: &[f32], depth: usize) -> Vec<f32> {
    let n_rows = x.len().checked_div(depth).unwrap_or(0);
    let n_out = w.len().checked_div(depth).unwrap_or(0);
    let factors = [Factor::rows(x, depth), Factor::columns(w, depth)];
    product([n_rows, n_out, depth], factors)
}

/// `x b`, `[rows, n]`.
///
/// # Shapes
/// `x` `[rows, depth]`, `b` `[depth, n]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn matmul(x: &[f32], b: &[f32], n: usize) -> Vec<f32> {
    let depth = b.len().checked_div(n).unwrap_or(0);
    let n_rows = x.len().checked_div(depth).unwrap_or(0);
    let factors = [Factor::rows(x, depth), Factor::rows(b, n)];
    product([n_rows, n, depth], factors)
}

/// `y += x b`.
///
/// # Shapes
/// `x` `[rows, depth]`, `b` `[depth, n]`, `y` `[rows, n]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn add_matmul(x: &[f32], b: &[f32], n: usize, y: &mut [f32]) {
    let depth = b.len().checked_div(n).unwrap_or(0);
    let n_rows = y.len().checked_div(n).unwrap_or(0);
    let factors = [Factor::rows(x, depth), Factor::rows(b, n)];
    add_product([n_rows, n, depth], factors, y);
}

/// `aᵀ b`, `[m, n]`.
///
/// # Shapes
/// `a` `[depth, m]`, `b` `[depth, n]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn outer(a: &[f32], b: &[f32], n: usize) -> Vec<f32> {
    let depth = b.len().checked_div(n).unwrap_or(0);
    let m = a.len().checked_div(depth).unwrap_or(0);
    let factors = [Factor::columns(a, m), Factor::rows(b, n)];
    product([m, n, depth], factors)
}

/// `c += aᵀ b`.
///
/// # Shapes
/// `a` `[depth, m]`, `b` `[depth, n]`, `c` `[m, n]`.
///
/// # Panics
/// When the lengths do not fit.
pub fn add_outer(a: &[f32], b: &[f32], n: usize, c: &mut [f32]) {
    let depth = b.len().checked_div(n).unwrap_or(0);
    let m = c.len().checked_div(n).unwrap_or(0);
    let factors = [Factor::columns(a, m), Factor::rows(b, n)];
    add_product([m, n, depth], factors, c);
}

/// `[m, n]` from factors `[m, depth]` and `[depth, n]`.
fn product(sizes: [usize; 3], factors: [Factor<'_>; 2]) -> Vec<f32> {
    let [m, n, depth] = sizes;
    if depth == 0 {
        return vec![0.0; m * n];
    }
    let mut y = Vec::with_capacity(m * n);
    // SAFETY: the room is as large as the product, which is written from end to end.
    unsafe {
        multiply(sizes, factors, y.as_mut_ptr(), Start::Zero);
        y.set_len(m * n);
    }
    y
}

/// Adds to `y`.
fn add_product(sizes: [usize; 3], factors: [Factor<'_>; 2], y: &mut [f32]) {
    let [m, n, _] = sizes;
    assert_eq!(y.len(), m * n, "shapes that fit");
    // SAFETY: the result is borrowed alone, and as large as the product.
    unsafe { multiply(sizes, factors, y.as_mut_ptr(), Start::Accumulate) };
}

/// Rows of `n` to `y`.
///
/// # Panics
/// When a factor does not fit.
///
/// # Safety
/// `y` is good for `m` times `n` writes, and reads, too, where they are added to.
unsafe fn multiply([m, n, depth]: [usize; 3], [a, b]: [Factor<'_>; 2], y: *mut f32, start: Start) {
    assert!(
        a.values.len() == m * depth && b.values.len() == depth * n,
        "shapes that fit"
    );
    debug_assert!(a.reaches([m, depth]) && b.reaches([depth, n]));
    let parallelism = match n_threads() > 1 && m * n * depth >= ALONE_BELOW {
        true => Parallelism::Rayon(0),
        false => Parallelism::None,
    };
    let [[a_row, a_column], [b_row, b_column]] =
        [a.strides, b.strides].map(|strides| strides.map(usize::cast_signed));
    // SAFETY: both factors reach as far as these sizes and strides say, and so does the result, says
    // the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            depth,
            y,
            1,
            n.cast_signed(),
            start == Start::Accumulate,
            a.values.as_ptr(),
            a_column,
            a_row,
            b.values.as_ptr(),
            b_column,
            b_row,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::tests::{normal, on_threads, reference};

    fn turned(x: &[f32], width: usize) -> Vec<f32> {
        let n = x.len() / width;
        (0..x.len()).map(|i| x[i % n * width + i / n]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn products_match_the_reference_on_any_threads(
            rows in 1_usize..140, depth in 1_usize..400, n in 1_usize..140,
        ) {
            let (x, w) = (normal(rows * depth, 1), normal(n * depth, 2));
            let (x_turned, w_turned) = (turned(&x, depth), turned(&w, depth));
            let (expected, magnitudes) = reference(&x, &w, depth);
            let products = || {
                let mut added = [vec![1.0; rows * n], vec![1.0; rows * n]];
                add_matmul(&x, &w_turned, n, &mut added[0]);
                add_outer(&x_turned, &w_turned, n, &mut added[1]);
                let less_one = |y: Vec<f32>| y.into_iter().map(|y| y - 1.0).collect();
                let [a, b] = added.map(less_one);
                let products = [
                    matmul_transposed(&x, &w, depth),
                    matmul(&x, &w_turned, n),
                    outer(&x_turned, &w_turned, n),
                ];
                products.into_iter().chain([a, b]).collect::<Vec<Vec<f32>>>()
            };
            let alone = on_threads(1, products);
            for (i, expected) in expected.iter().enumerate() {
                // Rounding of a sum of `depth` terms.
                let bound = (1.0 + magnitudes[i]) * depth as f64 * 1.2e-7;
                for y in &alone {
                    let error = (f64::from(y[i]) - expected).abs();
                    prop_assert!(error < bound, "{} and {expected}", y[i]);
                }
            }
            for n_threads in 2..=3 {
                prop_assert_eq!(&on_threads(n_threads, products), &alone);
            }
        }
    }

    #[test]
    fn nothing_times_nothing_is_zero() {
        assert!(matmul(&[], &[], 3).is_empty());
        assert!(matmul_transposed(&[], &[], 3).is_empty());
        let mut y = [3.0; 6];
        add_outer(&[], &[], 3, &mut y);
        assert_eq!(y, [3.0; 6]);
    }
}
