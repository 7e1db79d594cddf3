//! A dot product whose every bit depends only on its two inputs.

/// Independent partial sums.
const N_LANES: usize = 16;

/// `sum(a[i] * b[i])` in f32.
///
/// Element `i` goes to lane `i % 16`; the lanes are then added in a fixed tree. The order never
/// depends on threads, batch or CPU, so neither do the bits.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<N_LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<N_LANES>();
    let mut lanes = [0.0; N_LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..N_LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += a * b;
    }
    let mut width = N_LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
