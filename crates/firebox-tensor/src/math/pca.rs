//! Principal component analysis.

use burn::tensor::Tensor;

use crate::math::eigen;

/// The directions in which a cloud of points varies most.
///
/// # Examples
/// ```
/// # #[cfg(feature = "cpu")] {
/// use firebox_tensor::{burn::tensor::Tensor, math::Pca};
///
/// let device = firebox_tensor::DeviceChoice::Cpu.open().unwrap();
/// let points = Tensor::<2>::from_floats([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], &device);
/// let pca = Pca::fit(points.clone(), 1); // the points lie on one line
/// assert_eq!(pca.components.clone().try_into_vec_as::<f32>().unwrap(), [0.6, 0.8]);
/// assert_eq!(pca.transform(points).try_into_vec_as::<f32>().unwrap(), [-5.0, 0.0, 5.0]);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Pca {
    /// Mean of the points, `[1, features]`.
    pub mean: Tensor<2>,
    /// One direction per row, `[components, features]`, of length 1, at right angles to each
    /// other, the one of most variance first.
    pub components: Tensor<2>,
    /// Variance along each component, `[components]`, with the divisor `points - 1`.
    pub explained_variance: Tensor<1>,
    /// The same as a share of the variance along all features, `[components]`.
    pub explained_variance_ratio: Tensor<1>,
}

impl Pca {
    /// Finds the first `n_components` components: the eigenvectors of the covariance
    /// `C = (X - mean)^T (X - mean) / (points - 1)`, summed in f64.
    ///
    /// # Shapes
    /// `points`: `[points, features]`.
    ///
    /// # Panics
    /// If there are fewer than two points, or fewer features than components.
    ///
    /// Source: Jolliffe (2002), "Principal Component Analysis", 2nd edition, section 1.1.
    pub fn fit(points: Tensor<2>, n_components: usize) -> Self {
        let [n_points, n_features] = points.dims();
        assert!(
            n_points > 1,
            "PCA of {n_points} points: expected two or more"
        );
        assert!(
            n_components <= n_features,
            "PCA: expected at most {n_features} components, found {n_components}"
        );
        let device = points.device();
        let values: Vec<f64> = points.into_data_as::<f64>().iter().collect();
        let mean = column_means(&values, n_features);
        let covariance = covariance(&values, &mean);
        let (variances, vectors) = eigen::jacobi(&covariance, n_features);
        // Rounding may leave a variance of 0 a hair below it.
        let variances: Vec<f64> = variances.iter().map(|variance| variance.max(0.0)).collect();
        let total: f64 = variances.iter().sum();
        let ratio = |variance: &f64| if total > 0.0 { variance / total } else { 0.0 };
        let components: Vec<f64> = (0..n_components * n_features)
            .map(|i| vectors[i % n_features * n_features + i / n_features])
            .collect(); // columns become rows
        let kept = &variances[..n_components];
        let ratios: Vec<f64> = kept.iter().map(ratio).collect();
        Self {
            mean: eigen::rows(&mean, 1, n_features, &device),
            components: eigen::rows(&components, n_components, n_features, &device),
            explained_variance: eigen::vector(kept, &device),
            explained_variance_ratio: eigen::vector(&ratios, &device),
        }
    }

    /// Coordinates of `points` along the components.
    ///
    /// # Shapes
    /// `points`: `[points, features]`; result: `[points, components]`.
    pub fn transform(&self, points: Tensor<2>) -> Tensor<2> {
        (points - self.mean.clone()).matmul(self.components.clone().transpose()) // [points, components]
    }

    /// The points that have these coordinates and no part outside the components.
    ///
    /// # Shapes
    /// `coordinates`: `[points, components]`; result: `[points, features]`.
    pub fn inverse_transform(&self, coordinates: Tensor<2>) -> Tensor<2> {
        coordinates.matmul(self.components.clone()) + self.mean.clone() // [points, features]
    }
}

fn column_means(values: &[f64], n_features: usize) -> Vec<f64> {
    let n_points = (values.len() / n_features.max(1)) as f64;
    let mut means = vec![0.0; n_features];
    for point in values.chunks_exact(n_features.max(1)) {
        for (mean, x) in means.iter_mut().zip(point) {
            *mean += x / n_points;
        }
    }
    means
}

/// Row-major `[features, features]`.
fn covariance(values: &[f64], mean: &[f64]) -> Vec<f64> {
    let n_features = mean.len();
    let n_points = values.len() / n_features.max(1);
    let mut covariance = vec![0.0; n_features * n_features];
    for point in values.chunks_exact(n_features.max(1)) {
        let centred: Vec<f64> = point.iter().zip(mean).map(|(x, mean)| x - mean).collect();
        for (row, x) in covariance.chunks_exact_mut(n_features).zip(&centred) {
            for (entry, y) in row.iter_mut().zip(&centred) {
                *entry += x * y / (n_points - 1) as f64;
            }
        }
    }
    covariance
}
