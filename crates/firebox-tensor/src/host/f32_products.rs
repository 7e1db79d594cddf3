//! Products of training in f32, of factors as they lie; a frozen weight may be kept in 16 bits.
//!
//! Bits as those of every kernel: the same in any batch and on any number of threads.

#![expect(unsafe_code, reason = "results are written before they have values")]

use super::float_matmul::many_rows_product;
use super::float_panel::BlockWeights;
use super::gemm::Product;
use super::left_rows::LeftRows;
use super::level::SimdLevel;
use super::panel_matrix::Start;
use super::row_weights::{InputRows, OutputRows};
use super::stored::Stored;

/// `x Wᵀ`, `[rows, out]`.
///
/// # Shapes
/// `sizes` `[rows, out, depth]`, `x` `[rows, depth]`, `w` `[out, depth]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn matmul_transposed<E: Stored>(
    level: SimdLevel,
    x: &[f32],
    w: &[E],
    sizes: [usize; 3],
) -> Vec<f32> {
    product(level, LeftRows::Rows(x), &output_rows(w, sizes), sizes)
}

/// `y += x Wᵀ`.
///
/// # Shapes
/// As [`matmul_transposed`]; `y` `[rows, out]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn add_matmul_transposed(
    level: SimdLevel,
    x: &[f32],
    w: &[f32],
    sizes: [usize; 3],
    y: &mut [f32],
) {
    add_product(level, LeftRows::Rows(x), &output_rows(w, sizes), sizes, y);
}

/// `x b`, `[rows, n]`.
///
/// # Shapes
/// `sizes` `[rows, n, depth]`, `x` `[rows, depth]`, `b` `[depth, n]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn matmul<E: Stored>(
    level: SimdLevel,
    x: &[f32],
    b: &[E],
    sizes: [usize; 3],
) -> Vec<f32> {
    product(level, LeftRows::Rows(x), &input_rows(b, sizes), sizes)
}

/// `y += x b`.
///
/// # Shapes
/// As [`matmul`]; `y` `[rows, n]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn add_matmul(level: SimdLevel, x: &[f32], b: &[f32], sizes: [usize; 3], y: &mut [f32]) {
    add_product(level, LeftRows::Rows(x), &input_rows(b, sizes), sizes, y);
}

/// `aᵀ b`, `[m, n]`.
///
/// # Shapes
/// `sizes` `[m, n, depth]`, `a` `[depth, m]`, `b` `[depth, n]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn outer(level: SimdLevel, a: &[f32], b: &[f32], sizes: [usize; 3]) -> Vec<f32> {
    product(level, LeftRows::Columns(a), &input_rows(b, sizes), sizes)
}

/// `c += aᵀ b`.
///
/// # Shapes
/// As [`outer`]; `c` `[m, n]`.
///
/// # Panics
/// When a length does not fit.
pub(crate) fn add_outer(level: SimdLevel, a: &[f32], b: &[f32], sizes: [usize; 3], c: &mut [f32]) {
    add_product(level, LeftRows::Columns(a), &input_rows(b, sizes), sizes, c);
}

fn output_rows<E>(values: &[E], [_, out, depth]: [usize; 3]) -> OutputRows<'_, E> {
    assert_eq!(values.len(), out * depth, "values of the right factor");
    OutputRows {
        values,
        n_in: depth,
    }
}

fn input_rows<E>(values: &[E], [_, n, depth]: [usize; 3]) -> InputRows<'_, E> {
    assert_eq!(values.len(), depth * n, "values of the right factor");
    InputRows { values, n_out: n }
}

fn product<W: BlockWeights<Value = f32>>(
    level: SimdLevel,
    left: LeftRows<'_, f32>,
    weights: &W,
    sizes: [usize; 3],
) -> Vec<f32> {
    let [m, _, depth] = sizes;
    let (LeftRows::Rows(x) | LeftRows::Columns(x)) = left;
    assert_eq!(x.len(), m * depth, "values of the left factor");
    written(sizes, |result| {
        many_rows_product(level, left, depth, weights, result);
    })
}

/// `[m, n]`, all of which `multiply` writes; zeros where nothing is summed.
pub(super) fn written([m, n, depth]: [usize; 3], multiply: impl FnOnce(&Product)) -> Vec<f32> {
    if m * n * depth == 0 {
        return vec![0.0; m * n];
    }
    let mut y = Vec::with_capacity(m * n);
    let room = &mut y.spare_capacity_mut()[..m * n];
    if cfg!(test) {
        // Places that are not written show.
        room.fill(std::mem::MaybeUninit::new(f32::NAN));
    }
    multiply(&Product::unwritten(room, n, [m, n]));
    // SAFETY: the room is as large as the product, which was written from end to end.
    unsafe { y.set_len(m * n) };
    y
}

/// Adds to `y`.
fn add_product<W: BlockWeights<Value = f32>>(
    level: SimdLevel,
    left: LeftRows<'_, f32>,
    weights: &W,
    [m, n, depth]: [usize; 3],
    y: &mut [f32],
) {
    let (LeftRows::Rows(x) | LeftRows::Columns(x)) = left;
    assert_eq!(x.len(), m * depth, "values of the left factor");
    assert_eq!(y.len(), m * n, "values of the result");
    if m * n > 0 {
        let result = Product::new(y, n, [m, n], Start::Accumulate);
        many_rows_product(level, left, depth, weights, &result);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::tests::{at_each_level, normal, on_threads, reference};

    fn turned(x: &[f32], width: usize) -> Vec<f32> {
        let n = x.len() / width;
        (0..x.len()).map(|i| x[i % n * width + i / n]).collect()
    }

    /// All products at each level against the reference, on one to three threads.
    fn check(sizes: [usize; 3]) {
        at_each_level(|level| check_at(level, sizes));
    }

    fn check_at(level: SimdLevel, sizes: [usize; 3]) {
        let [rows, n, depth] = sizes;
        let (x, w) = (normal(rows * depth, 1), normal(n * depth, 2));
        let (x_turned, w_turned) = (turned(&x, depth), turned(&w, depth));
        let (expected, magnitudes) = reference(&x, &w, depth);
        let products = || {
            let mut added = [(); 3].map(|()| vec![1.0; rows * n]);
            add_matmul(level, &x, &w_turned, sizes, &mut added[0]);
            add_matmul_transposed(level, &x, &w, sizes, &mut added[1]);
            add_outer(level, &x_turned, &w_turned, sizes, &mut added[2]);
            let added = added.map(|y| y.into_iter().map(|y| y - 1.0).collect());
            let products = [
                matmul_transposed(level, &x, &w, sizes),
                matmul(level, &x, &w_turned, sizes),
                outer(level, &x_turned, &w_turned, sizes),
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

    #[test]
    fn thin_and_deep_products_match_the_reference() {
        for (rows, n) in [(1, 1), (1, 70), (70, 1), (16, 16), (130, 70)] {
            for depth in [1, 2, 3, 600, 1300] {
                check([rows, n, depth]);
            }
        }
    }

    #[test]
    fn weights_in_16_bits_are_what_they_are_in_32() {
        let sizes = [40, 75, 210];
        let [rows, n, depth] = sizes;
        let (x, w) = (normal(rows * depth, 1), normal(n * depth, 2));
        at_each_level(|level| {
            let bf16: Vec<_> = w.iter().map(|w| half::bf16::from_f32(*w)).collect();
            let widened: Vec<f32> = bf16.iter().map(|w| w.to_f32()).collect();
            let [found, expected] = [
                matmul_transposed(level, &x, &bf16, sizes),
                matmul_transposed(level, &x, &widened, sizes),
            ];
            assert_eq!(found, expected, "{level}");
            let f16: Vec<_> = w.iter().map(|w| half::f16::from_f32(*w)).collect();
            let widened: Vec<f32> = f16.iter().map(|w| w.to_f32()).collect();
            let [found, expected] = [
                matmul(level, &x, &f16, sizes),
                matmul(level, &x, &widened, sizes),
            ];
            assert_eq!(found, expected, "{level}");
        });
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_batch() {
        let [rows, n, depth] = [130, 70, 400];
        let (x, w) = (normal(rows * depth, 1), normal(n * depth, 2));
        at_each_level(|level| {
            let all = matmul_transposed(level, &x, &w, [rows, n, depth]);
            for (x, y) in x.chunks_exact(depth).zip(all.chunks_exact(n)) {
                assert_eq!(matmul_transposed(level, x, &w, [1, n, depth]), y, "{level}");
            }
        });
    }

    #[test]
    fn a_sum_of_nothing_is_zero() {
        let level = SimdLevel::current();
        assert_eq!(matmul::<f32>(level, &[], &[], [2, 3, 0]), [0.0; 6]);
        assert_eq!(outer(level, &[], &[], [2, 3, 0]), [0.0; 6]);
        assert!(matmul_transposed(level, &[], &[1.0; 6], [0, 2, 3]).is_empty());
        let mut y = [3.0; 6];
        add_outer(level, &[], &[], [2, 3, 0], &mut y);
        assert_eq!(y, [3.0; 6]);
    }
}
