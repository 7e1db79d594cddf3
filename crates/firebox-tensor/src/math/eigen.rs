//! Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi rotations.

use burn::tensor::{Device, Tensor, TensorData};

/// `A = V diag(values) V^T`.
#[derive(Clone, Debug)]
pub struct SymmetricEigen {
    /// Eigenvalues, `[n]`, largest first.
    pub values: Tensor<1>,
    /// Eigenvectors, `[n, n]`: column `j` belongs to `values[j]`, has length 1, and its component
    /// of largest magnitude is positive.
    pub vectors: Tensor<2>,
}

/// Decomposes a symmetric matrix, in f64 on the CPU.
///
/// Each rotation `J^T A J` in the plane of axes `p` and `q` makes `A[p][q]` zero. It may disturb
/// entries made zero before, but the sum of squares off the diagonal always falls by
/// `2 A[p][q]^2`, and after a few sweeps over all pairs only the diagonal is left.
///
/// Of an unsymmetric matrix `A`, `(A + A^T) / 2` is decomposed. The work is `O(n^3)` a sweep, for
/// 6 to 10 sweeps: good for `n` up to a few hundred.
///
/// # Shapes
/// `matrix`: `[n, n]`.
///
/// # Panics
/// If the matrix is not square.
///
/// # Examples
/// ```
/// # #[cfg(feature = "cpu")] {
/// use firebox_tensor::{burn::tensor::Tensor, math::symmetric_eigen};
///
/// let device = firebox_tensor::DeviceChoice::Cpu.open().unwrap();
/// let matrix = Tensor::<2>::from_floats([[2.0, 1.0], [1.0, 2.0]], &device);
/// let eigen = symmetric_eigen(matrix);
/// assert_eq!(eigen.values.try_into_vec_as::<f32>().unwrap(), [3.0, 1.0]);
/// # }
/// ```
///
/// Source: Golub and Van Loan (2013), "Matrix Computations", 4th edition, section 8.5.
pub fn symmetric_eigen(matrix: Tensor<2>) -> SymmetricEigen {
    let [n, n_cols] = matrix.dims();
    assert_eq!(
        n, n_cols,
        "eigendecomposition of a [{n}, {n_cols}] matrix: expected a square one"
    );
    let device = matrix.device();
    let (values, vectors) = jacobi(
        &matrix.into_data_as::<f64>().iter().collect::<Vec<f64>>(),
        n,
    );
    SymmetricEigen {
        values: vector(&values, &device),
        vectors: rows(&vectors, n, n, &device),
    }
}

/// Eigenvalues, largest first, and the eigenvectors as the columns of a row-major `[n, n]` array.
pub(super) fn jacobi(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    const MAX_SWEEPS: usize = 64;
    let mut a: Vec<f64> = (0..n * n)
        .map(|i| (matrix[i] + matrix[i % n * n + i / n]) / 2.0)
        .collect();
    let mut v: Vec<f64> = (0..n * n)
        .map(|i| f64::from(u8::from(i / n == i % n)))
        .collect();
    // What is left off the diagonal then changes no eigenvalue by more than its rounding.
    let tolerance = f64::EPSILON * f64::EPSILON * a.iter().map(|x| x * x).sum::<f64>();
    for _ in 0..MAX_SWEEPS {
        if off_diagonal(&a, n) <= tolerance {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, (p, q));
            }
        }
    }
    sort_columns(&a, &v, n)
}

/// Sum of the squares off the diagonal.
fn off_diagonal(a: &[f64], n: usize) -> f64 {
    (0..n * n)
        .filter(|i| i / n != i % n)
        .map(|i| a[i] * a[i])
        .sum()
}

/// Replaces `a` by `J^T a J` and `v` by `v J`, where `J` rotates axes `p` and `q` so that the new
/// `a[p][q]` is 0.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let off = a[p * n + q];
    if off == 0.0 {
        return;
    }
    // The smaller root of t^2 + 2 tau t - 1 = 0 is the tangent of an angle below 45 degrees.
    let tau = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
    let tangent = tau.signum() / (tau.abs() + tau.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turn = |values: &mut [f64], i: usize, j: usize| {
        let (x, y) = (values[i], values[j]);
        values[i] = cosine * x - sine * y;
        values[j] = sine * x + cosine * y;
    };
    for k in 0..n {
        turn(a, k * n + p, k * n + q); // columns: a J
        turn(v, k * n + p, k * n + q); // columns: v J
    }
    for k in 0..n {
        turn(a, p * n + k, q * n + k); // rows: J^T a
    }
    (a[p * n + q], a[q * n + p]) = (0.0, 0.0);
}

/// Sorts eigenvalues and their columns, largest first, and fixes the signs.
fn sort_columns(a: &[f64], v: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let value = |j: usize| a[j * n + j];
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| value(*j).total_cmp(&value(*i)));
    let mut vectors = vec![0.0; n * n];
    for (to, from) in order.iter().enumerate() {
        let column = || (0..n).map(|k| v[k * n + from]);
        let largest = column().fold(0.0, |max: f64, x| if x.abs() > max.abs() { x } else { max });
        for (k, x) in column().enumerate() {
            vectors[k * n + to] = x * largest.signum();
        }
    }
    (order.iter().map(|j| value(*j)).collect(), vectors)
}

/// An f64 slice as a tensor of the device's float type.
pub(super) fn vector(values: &[f64], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// A row-major f64 slice as a matrix of the device's float type.
pub(super) fn rows(values: &[f64], n_rows: usize, n_cols: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [n_rows, n_cols]), device)
}
