//! `A B`, `Aᵀ B` and `C + Aᵀ B`, outside autodiff.

use burn::tensor::Tensor;

use super::linear::matmul;
use super::precision::MatmulPrecision;

/// `a b`.
///
/// # Shapes
/// `a` `[m, depth]`, `b` `[depth, n]`, both outside autodiff.
pub fn product(a: Tensor<2>, b: Tensor<2>, precision: MatmulPrecision) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if [&a, &b].into_iter().all(super::flex_op::is_host_f32) {
        return fused::product(a, b, precision);
    }
    matmul(a, b, precision)
}

/// `aᵀ b`.
///
/// # Shapes
/// `a` `[depth, m]`, `b` `[depth, n]`, both outside autodiff.
pub fn outer(a: Tensor<2>, b: Tensor<2>, precision: MatmulPrecision) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if [&a, &b].into_iter().all(super::flex_op::is_host_f32) {
        return fused::outer(a, b, precision);
    }
    matmul(a.transpose(), b, precision)
}

/// `c + aᵀ b`; on the CPU in the memory of `c`, when nobody else holds it.
///
/// # Shapes
/// `c` `[m, n]`, `a` `[depth, m]`, `b` `[depth, n]`, all outside autodiff.
pub fn add_outer(
    c: Tensor<2>,
    a: Tensor<2>,
    b: Tensor<2>,
    precision: MatmulPrecision,
) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if [&c, &a, &b].into_iter().all(super::flex_op::is_host_f32) {
        return fused::add_outer(c, a, b, precision);
    }
    c + matmul(a.transpose(), b, precision)
}

#[cfg(feature = "cpu")]
mod fused {
    use burn::backend::Flex;
    use burn::tensor::Tensor;

    use super::super::flex_op::host_f32;
    use super::MatmulPrecision;

    pub(super) fn product(a: Tensor<2>, b: Tensor<2>, precision: MatmulPrecision) -> Tensor<2> {
        let y = precision.product(&host_f32(a), &host_f32(b));
        Tensor::from_primitive::<Flex>(y)
    }

    pub(super) fn outer(a: Tensor<2>, b: Tensor<2>, precision: MatmulPrecision) -> Tensor<2> {
        let y = precision.outer(&host_f32(a), &host_f32(b));
        Tensor::from_primitive::<Flex>(y)
    }

    pub(super) fn add_outer(
        c: Tensor<2>,
        a: Tensor<2>,
        b: Tensor<2>,
        precision: MatmulPrecision,
    ) -> Tensor<2> {
        let (mut c, a, b) = (host_f32(c), host_f32(a), host_f32(b));
        precision.add_outer(&a, &b, c.storage_mut());
        Tensor::from_primitive::<Flex>(c)
    }
}
