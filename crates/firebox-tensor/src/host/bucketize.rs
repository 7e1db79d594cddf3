//! Where numbers lie among others.

use super::simd::Simd;

/// For each number, how many of the thresholds it is above.
#[inline(always)]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
pub(crate) fn bucketize<S: Simd, const N: usize>(
    simd: S,
    thresholds: &[f32],
    values: &[f32; N],
) -> [u32; N] {
    const { assert!(N.is_multiple_of(S::LANES)) }
    let mut counts = [0; N];
    let mut at = 0;
    while at < N {
        // SAFETY: `at` is a multiple of the lanes below `N`, which is one too.
        let x = unsafe { simd.load(values.as_ptr().add(at)) };
        let mut count = simd.int_splat(0);
        for threshold in thresholds {
            count = simd.count_above(count, x, *threshold);
        }
        // SAFETY: as above.
        unsafe { simd.store_int(counts.as_mut_ptr().add(at), count) };
        at += S::LANES;
    }
    counts
}
