//! `C + Aᵀ B`.

use burn::tensor::Tensor;

/// `c + aᵀ b`; on the CPU in the memory of `c`, when nobody else holds it.
///
/// # Shapes
/// `c` `[m, n]`, `a` `[depth, m]`, `b` `[depth, n]`, all outside autodiff.
pub fn add_outer(c: Tensor<2>, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if [&c, &a, &b].into_iter().all(super::flex_op::is_host_f32) {
        return fused::add_outer(c, a, b);
    }
    c + a.transpose().matmul(b)
}

#[cfg(feature = "cpu")]
mod fused {
    use burn::backend::Flex;
    use burn::tensor::Tensor;

    use super::super::flex_op::{host_f32, values};
    use crate::host::{self, SimdLevel};

    pub(super) fn add_outer(c: Tensor<2>, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        let [_, n] = b.dims();
        let (mut c, a, b) = (host_f32(c), host_f32(a), host_f32(b));
        host::add_outer(
            SimdLevel::current(),
            values(&a),
            values(&b),
            n,
            c.storage_mut(),
        );
        Tensor::from_primitive::<Flex>(c)
    }
}
