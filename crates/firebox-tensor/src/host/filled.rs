//! Large buffers, written first by the threads that go on with them.
//!
//! A training step takes hundreds of megabytes from the allocator, which has them from the step before:
//! filling them is work like any other, and one thread alone needs a tenth of the step for it.

#![expect(unsafe_code, reason = "memory is written before it has values")]

use std::mem::MaybeUninit;

use super::parallel::{SharedMut, for_each_range};

/// Values that one task fills: a quarter of a second cache.
const TASK_VALUES: usize = 128 << 10;

/// `n` zeros.
pub fn zeros(n: usize) -> Vec<f32> {
    filled(n, |_, task| task.fill(MaybeUninit::new(0.0)))
}

/// The same values again.
pub fn copied(values: &[f32]) -> Vec<f32> {
    filled(values.len(), |first, task| {
        let source = &values[first..first + task.len()];
        for (place, value) in task.iter_mut().zip(source) {
            place.write(*value);
        }
    })
}

/// `write` is given every place once, with the number of its first one, and writes all of them.
fn filled(n: usize, write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    let mut values = Vec::with_capacity(n);
    let places = SharedMut::new(&mut values.spare_capacity_mut()[..n]);
    for_each_range(n, TASK_VALUES, |range| {
        // SAFETY: the ranges lie within the places and do not overlap.
        let task =
            unsafe { std::slice::from_raw_parts_mut(places.skip(range.start).ptr(), range.len()) };
        write(range.start, task);
    });
    // SAFETY: the capacity is at least `n`, and each of the first `n` places was written.
    unsafe { values.set_len(n) };
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_written() {
        for n in [0, 1, 1000, TASK_VALUES, 3 * TASK_VALUES + 7] {
            let zeros = zeros(n);
            assert_eq!(zeros.len(), n);
            assert!(zeros.iter().all(|x| x.to_bits() == 0));
            let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(copied(&values), values);
        }
    }
}
