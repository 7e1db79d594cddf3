//! Products of training in f32: the `gemm` crate's, which takes its factors by their strides and
//! writes into memory that is there.
//!
//! burn-flex multiplies with it, too, but fills and copies every result on one thread before, and cannot
//! add to one. Bits do not depend on the number of threads; unlike those of the other kernels they may
//! on the number of rows.

#![expect(unsafe_code, reason = "the crate takes pointers")]

use std::mem::MaybeUninit;

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
}

/// `x Wᵀ`, `[rows, out]`.
///
/// # Shapes
/// `x` `[rows, depth]`, `w` `[out, depth]`.
///
/// # Panics
/// When a length does not fit.
pub fn matmul_transposed(x: &[f32], w: &[f32], [rows, out, depth]: [usize; 3]) -> Vec<f32> {
    let factors = [Factor::rows(x, depth), Factor::columns(w, depth)];
    product([rows, out, depth], factors)
}

/// `y += x Wᵀ`.
///
/// # Shapes
/// `x` `[rows, depth]`, `w` `[out, depth]`, `y` `[rows, out]`.
///
/// # Panics
/// When a length does not fit.
pub fn add_matmul_transposed(
    x: &[f32],
    w: &[f32],
    [rows, out, depth]: [usize; 3],
    y: &mut [f32],
) {
    let factors = [Factor::rows(x, depth), Factor::columns(w, depth)];
    add_product([rows, out, depth], factors, y);
}

/// `x b`, `[rows, n]`.
///
/// # Shapes
/// `x` `[rows, depth]`, `b` `[depth, n]`.
///
/// # Panics
/// When a length does not fit.
pub fn matmul(x: &[f32], b: &[f32], [rows, n, depth]: [usize; 3]) -> Vec<f32> {
    product([rows, n, depth], [Factor::rows(x, depth), Factor::rows(b, n)])
}

/// `y += x b`.
///
/// # Shapes
/// `x` `[rows, depth]`, `b` `[depth, n]`, `y` `[rows, n]`.
///
/// # Panics
/// When a length does not fit.
pub fn add_matmul(x: &[f32], b: &[f32], [rows, n, depth]: [usize; 3], y: &mut [f32]) {
    let factors = [Factor::rows(x, depth), Factor::rows(b, n)];
    add_product([rows, n, depth], factors, y);
}

/// `aᵀ b`, `[m, n]`.
///
/// # Shapes
/// `a` `[depth, m]`, `b` `[depth, n]`.
///
/// # Panics
/// When a length does not fit.
pub fn outer(a: &[f32], b: &[f32], [m, n, depth]: [usize; 3]) -> Vec<f32> {
    product([m, n, depth], [Factor::columns(a, m), Factor::rows(b, n)])
}

/// `c += aᵀ b`.
///
/// # Shapes
/// `a` `[depth, m]`, `b` `[depth, n]`, `c` `[m, n]`.
///
/// # Panics
/// When a length does not fit.
pub fn add_outer(a: &[f32], b: &[f32], [m, n, depth]: [usize; 3], c: &mut [f32]) {
    add_product([m, n, depth], [Factor::columns(a, m), Factor::rows(b, n)], c);
}

/// `[m, n]` from factors `[m, depth]` and `[depth, n]`; zeros where nothing is summed.
fn product(sizes: [usize; 3], factors: [Factor<'_>; 2]) -> Vec<f32> {
    let [m, n, _] = sizes;
    let mut y = Vec::with_capacity(m * n);
    if cfg!(test) {
        // Places that are not written show.
        y.spare_capacity_mut().fill(MaybeUninit::new(f32::NAN));
    }
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
    assert_eq!(y.len(), m * n, "values of the result");
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
unsafe fn multiply(
    [m, n, depth]: [usize; 3],
    [a, b]: [Factor<'_>; 2],
    y: *mut f32,
    start: Start,
) {
    assert_eq!(a.values.len(), m * depth, "values of the left factor");
    assert_eq!(b.values.len(), depth * n, "values of the right factor");
    let parallelism = match n_threads() > 1 && m * n * depth >= ALONE_BELOW {
        true => Parallelism::Rayon(0),
        false => Parallelism::None,
    };
    let [[a_row, a_column], [b_row, b_column]] =
        [a.strides, b.strides].map(|strides| strides.map(usize::cast_signed));
    // SAFETY: both factors are as long as these sizes say, and their strides are those of whole rows or
    // columns; the result is good for it, says the caller.
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

    /// All products against the reference, on one to three threads.
    fn check(sizes: [usize; 3]) {
        let [rows, n, depth] = sizes;
        let (x, w) = (normal(rows * depth, 1), normal(n * depth, 2));
        let (x_turned, w_turned) = (turned(&x, depth), turned(&w, depth));
        let (expected, magnitudes) = reference(&x, &w, depth);
        let products = || {
            let mut added = [(); 3].map(|()| vec![1.0; rows * n]);
            add_matmul(&x, &w_turned, sizes, &mut added[0]);
            add_matmul_transposed(&x, &w, sizes, &mut added[1]);
            add_outer(&x_turned, &w_turned, sizes, &mut added[2]);
            let added = added.map(|y| y.into_iter().map(|y| y - 1.0).collect());
            let products = [
                matmul_transposed(&x, &w, sizes),
                matmul(&x, &w_turned, sizes),
                outer(&x_turned, &w_turned, sizes),
            ];
            products.into_iter().chain(added).collect::<Vec<Vec<f32>>>()
        };
        let alone = on_threads(1, products);
        for (i, expected) in expected.iter().enumerate() {
            // Rounding of a sum of `depth` terms, and of one.
            let bound = (1.0 + magnitudes[i]) * (depth + 1) as f64 * 1.2e-7;
            for y in &alone {
                let error = (f64::from(y[i]) - expected).abs();
                assert!(error < bound, "{sizes:?}: {} and {expected}", y[i]);
            }
        }
        for n_threads in 2..=3 {
            assert_eq!(on_threads(n_threads, products), alone, "{sizes:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn products_match_the_reference_on_any_threads(
            rows in 1_usize..140, depth in 1_usize..400, n in 1_usize..140,
        ) {
            check([rows, n, depth]);
        }
    }

    /// The crate has ways of its own for them.
    #[test]
    fn thin_and_deep_products_match_the_reference() {
        for (rows, n) in [(1, 1), (1, 70), (70, 1), (16, 16), (130, 70)] {
            for depth in [1, 2, 3, 600, 1300] {
                check([rows, n, depth]);
            }
        }
    }

    #[test]
    fn a_sum_of_nothing_is_zero() {
        assert_eq!(matmul(&[], &[], [2, 3, 0]), [0.0; 6]);
        assert_eq!(outer(&[], &[], [2, 3, 0]), [0.0; 6]);
        assert!(matmul_transposed(&[], &[1.0; 6], [0, 2, 3]).is_empty());
        let mut y = [3.0; 6];
        add_outer(&[], &[], [2, 3, 0], &mut y);
        assert_eq!(y, [3.0; 6]);
    }
}
