//! `y = x Wᵀ` over a packed weight on the device of the rows.

use burn::tensor::Tensor;

use crate::packed::PackedMatrix;

/// The copy of a packed weight on the device that last multiplied with it; none at first. Clones
/// share it.
#[derive(Debug, Clone, Default)]
pub struct PackedOnDevice {
    #[cfg(feature = "gpu")]
    copy: std::sync::Arc<std::sync::Mutex<Option<crate::gpu::GpuPacked>>>,
}

impl PackedOnDevice {
    /// Multiplies rows by a weight that stays packed: it is unpacked inside the product, and so it
    /// is in the gradient of the rows. `None` where there is no kernel for the device or the format.
    ///
    /// # Shapes
    /// `x` `[rows, in]`, the result `[rows, out]`.
    pub fn linear(&self, x: &Tensor<2>, matrix: &PackedMatrix) -> Option<Tensor<2>> {
        #[cfg(feature = "gpu")]
        return self.linear_on_gpu(x, matrix);
        #[cfg(not(feature = "gpu"))]
        {
            let _ = (x, matrix);
            None
        }
    }

    #[cfg(feature = "gpu")]
    fn linear_on_gpu(&self, x: &Tensor<2>, matrix: &PackedMatrix) -> Option<Tensor<2>> {
        use std::sync::PoisonError;

        use crate::gpu::{GpuPacked, packed_linear};

        let device = x.device().inner();
        if super::is_cpu(&device) {
            return None;
        }
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        if copy.as_ref().is_none_or(|copy| *copy.device() != device) {
            *copy = Some(GpuPacked::new(matrix, &device)?);
        }
        packed_linear(x, copy.as_ref()?)
    }
}
