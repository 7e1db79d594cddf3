//! Where a run of small kernels executes.

use burn::tensor::Device;

/// Runs `work` on a thread of the pool that the CPU's kernels share; for other devices, right here.
///
/// A kernel that starts from outside the pool wakes it and sleeps until it is done, some
/// microseconds each; two hundred of them make one decoding step. Inside, the thread that starts a
/// kernel computes its own share of it.
pub fn in_pool<T: Send>(device: &Device, work: impl FnOnce() -> T + Send) -> T {
    match is_cpu(device) {
        true => rayon::scope(|_| work()),
        false => work(),
    }
}

/// Whether a device is this machine's CPU, whose memory the [`host`](crate::host) kernels share.
pub fn is_cpu(_device: &Device) -> bool {
    #[cfg(feature = "cpu")]
    return *_device == Device::flex();
    #[cfg(not(feature = "cpu"))]
    false
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;

    #[test]
    fn work_runs_in_the_pool_also_when_nested() {
        let device = Device::flex();
        assert!(rayon::current_thread_index().is_none());
        let nested = in_pool(&device, || {
            (
                rayon::current_thread_index(),
                in_pool(&device, rayon::current_thread_index),
            )
        });
        assert!(nested.0.is_some());
        assert_eq!(nested.0, nested.1);
    }
}
