//! Where a run of small kernels executes.

/// Runs `work` on a thread of the pool that the kernels share.
///
/// A kernel that starts from outside the pool wakes it and sleeps until it is done, some
/// microseconds each; two hundred of them make one decoding step. Inside, the thread that starts a
/// kernel computes its own share of it.
pub fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_in_the_pool_also_when_nested() {
        assert!(rayon::current_thread_index().is_none());
        let nested = in_pool(|| {
            (
                rayon::current_thread_index(),
                in_pool(rayon::current_thread_index),
            )
        });
        assert!(nested.0.is_some());
        assert_eq!(nested.0, nested.1);
    }
}
