//! Elements of CPU tensors as plain slices, without copies, for fused in-place loops.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Elements that one thread works on at a time. Fixed, so that sums over chunks have the same
/// rounding for any number of threads.
pub(crate) const CHUNK_LEN: usize = 16 * 1024;

/// The elements of a tensor on any device, copied to the host as f32.
pub(crate) fn to_floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.try_into_vec().expect("just converted to f32")
}

/// The f32 elements of a flat tensor in this process's memory.
///
/// Taking them from a tensor that nothing else holds moves the buffer; a shared buffer is copied,
/// so writing here never changes another tensor.
#[derive(Debug)]
pub(crate) struct HostElements {
    data: TensorData,
    device: Device,
}

impl HostElements {
    /// Takes the elements of every tensor, or gives all tensors back when one of them is not f32
    /// in host memory.
    pub(crate) fn take<const N: usize>(
        tensors: [Tensor<1>; N],
    ) -> Result<[Self; N], [Tensor<1>; N]> {
        let on_host =
            |tensor: &Tensor<1>| tensor.dtype() == DType::F32 && is_host_device(&tensor.device());
        if !tensors.iter().all(on_host) {
            return Err(tensors);
        }
        Ok(tensors.map(|tensor| Self {
            device: tensor.device(),
            data: tensor.into_data(),
        }))
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        self.data
            .as_slice()
            .expect("f32 was checked in `take`: this is a bug in firebox-train")
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        self.data
            .as_mut_slice()
            .expect("f32 was checked in `take`: this is a bug in firebox-train")
    }

    /// Puts the elements back into a tensor, again without a copy.
    pub(crate) fn into_tensor(self) -> Tensor<1> {
        Tensor::from_data(self.data, (&self.device, DType::F32))
    }
}

/// Whether tensors of this device can be read as slices for free.
#[cfg(feature = "cpu")]
fn is_host_device(device: &Device) -> bool {
    *device == Device::flex()
}

/// Without the CPU backend every tensor is on an accelerator.
#[cfg(not(feature = "cpu"))]
fn is_host_device(_device: &Device) -> bool {
    false
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;

    #[test]
    fn an_unshared_buffer_goes_round_without_a_copy() {
        let tensor = Tensor::<1>::ones([4096], &Device::flex());
        let [mut first] = HostElements::take([tensor]).unwrap();
        let address = first.as_slice().as_ptr();
        first.as_mut_slice()[7] = 3.0;
        let [second] = HostElements::take([first.into_tensor()]).unwrap();
        assert_eq!(second.as_slice().as_ptr(), address);
        assert_eq!(second.as_slice()[7], 3.0);
    }

    #[test]
    fn a_shared_buffer_is_copied_before_it_is_written() {
        let tensor = Tensor::<1>::ones([16], &Device::flex());
        let [mut elements] = HostElements::take([tensor.clone()]).unwrap();
        elements.as_mut_slice()[0] = 5.0;
        assert_eq!(tensor.into_data().as_slice::<f32>().unwrap()[0], 1.0);
    }
}
