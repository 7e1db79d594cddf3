//! Handing whole outputs to the threads of rayon's pool.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::team::run_in_team;

/// Threads of the pool that kernels run on: rayon's current one.
pub fn n_threads() -> usize {
    rayon::current_num_threads()
}

/// Calls `work` once for every number below `n`, in any order, on all threads.
///
/// Each thread takes the next number when it is done with one. The calling thread takes part, so a
/// busy pool slows the work down but never blocks it.
pub fn for_each(n: usize, work: impl Fn(usize) + Sync) {
    let n_lanes = n.min(n_threads());
    if n_lanes <= 1 {
        (0..n).for_each(work);
        return;
    }
    let next = AtomicUsize::new(0);
    let lane = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                return;
            }
            work(i);
        }
    };
    if !run_in_team(&lane) {
        in_lanes(n_lanes, &lane);
    }
}

/// Values that one task of a simple pass works on, about: less is done sooner by one thread than by
/// two.
pub(crate) const TASK_VALUES: usize = 16 * 1024;

/// Cuts `0..n` into ranges of `len`, the last one shorter, and calls `work` for each as [`for_each`]
/// does.
pub(crate) fn for_each_range(n: usize, len: usize, work: impl Fn(Range<usize>) + Sync) {
    let len = len.max(1);
    for_each(n.div_ceil(len), |task| {
        work(task * len..n.min((task + 1) * len));
    });
}

/// [`for_each_range`] over rows that are `width` wide, about [`TASK_VALUES`] at a time.
pub(crate) fn for_each_rows(n_rows: usize, width: usize, work: impl Fn(Range<usize>) + Sync) {
    for_each_range(n_rows, TASK_VALUES.div_ceil(width), work);
}

/// Runs `lane` up to `n` times at once.
fn in_lanes(n: usize, lane: &(impl Fn() + Sync)) {
    match n {
        0 => {}
        1 => lane(),
        n => {
            rayon::join(|| in_lanes(n / 2, lane), || in_lanes(n - n / 2, lane));
        }
    }
}

/// A pointer that threads may share. Whoever makes one promises that no two of them touch the same
/// element.
pub(crate) struct SharedMut<T>(*mut T);

impl<T> Clone for SharedMut<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SharedMut<T> {}

#[expect(unsafe_code, reason = "threads write disjoint parts of one output")]
// SAFETY: only the pointer is moved; see the type.
unsafe impl<T: Send> Send for SharedMut<T> {}

#[expect(unsafe_code, reason = "threads write disjoint parts of one output")]
// SAFETY: only the pointer is shared; see the type.
unsafe impl<T: Send> Sync for SharedMut<T> {}

#[cfg(any(test, feature = "burn"))]
impl SharedMut<std::mem::MaybeUninit<f32>> {
    /// As a pointer to values, of which none may be read before it is written.
    pub(crate) fn of_values(self) -> SharedMut<f32> {
        SharedMut(self.0.cast())
    }
}

impl<T> SharedMut<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The same from element `n` on, which must be inside what it was made of.
    pub(crate) fn skip(self, n: usize) -> Self {
        Self(self.0.wrapping_add(n))
    }

    pub(crate) fn ptr(self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_on_any_number_of_threads() {
        for n_threads in 1..4 {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            for n in [0, 1, 2, 3, 7, 100] {
                let calls: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                pool.install(|| for_each(n, |i| _ = calls[i].fetch_add(1, Ordering::Relaxed)));
                assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1));
            }
        }
    }
}
