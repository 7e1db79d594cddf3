//! The random permutations of MinHash, many at a time.

use super::n_grams::mix;

/// Permutations that are worked on side by side: four registers of AVX2.
const WIDE: usize = 32;
/// What is left of a multiple of [`WIDE`].
const NARROW: usize = 8;

/// The permutations `x -> a x + b mod 2^32` of the 32-bit numbers, `a` odd.
///
/// An n-gram is first hashed to `x` by a strong 64-bit hash, of which the upper half is used. For such
/// hashes, each single minimum is a fair draw from the document's n-grams, and two documents agree in it
/// with the probability of their Jaccard similarity: what MinHash needs. It is off by the chance that two
/// n-grams share `x`, below `n / 2^32` for documents of `n` n-grams. Two minima of one document depend on
/// each other by no more than the order of `1 / n`, while `n` is well below `2^16`, because the points
/// `(a x + b, a' x + b')` of a random pair fill the square evenly down to boxes of side `2^16`.
///
/// datatrove keeps 64 bits of `(a x + b) mod (2^61 - 1)`, where the product has lost its upper bits
/// before the remainder is taken. 32 bits do the same work, since the eight minima of a
/// band are compared together (256 bits, hashed to 64), and twice as many fit a register.
///
/// Source: Broder, Charikar, Frieze and Mitzenmacher (2000), "Min-wise independent permutations",
/// section 4 (linear permutations).
#[derive(Debug, Clone)]
pub(super) struct Permutations {
    multipliers: Vec<u32>,
    offsets: Vec<u32>,
    n_permutations: usize,
}

impl Permutations {
    pub(super) fn new(n_permutations: usize, seed: u64) -> Self {
        let n_padded = n_permutations.next_multiple_of(NARROW);
        let mut state = mix(seed);
        let mut draw = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            (mix(state) >> 32) as u32
        };
        let multipliers = (0..n_padded).map(|_| draw() | 1).collect();
        let offsets = (0..n_padded).map(|_| draw()).collect();
        Self {
            multipliers,
            offsets,
            n_permutations,
        }
    }

    /// For each permutation, the least value that any of `hashes` has under it.
    pub(super) fn minima(&self, hashes: &[u32]) -> Box<[u32]> {
        let mut minima = vec![u32::MAX; self.multipliers.len()];
        pulp::Arch::new().dispatch(Lower {
            permutations: self,
            hashes,
            minima: &mut minima,
        });
        minima.truncate(self.n_permutations);
        minima.into_boxed_slice()
    }
}

/// Lowers minima to the values of some hashes: compiled once for each width of the processor's vectors,
/// whose results are equal. (A closure would not be inlined into what is compiled for them.)
struct Lower<'a> {
    permutations: &'a Permutations,
    hashes: &'a [u32],
    minima: &'a mut [u32],
}

impl pulp::NullaryFnOnce for Lower<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let n_wide = self.minima.len() / WIDE * WIDE;
        let (wide, narrow) = self.minima.split_at_mut(n_wide);
        let (wide_a, narrow_a) = self.permutations.multipliers.split_at(n_wide);
        let (wide_b, narrow_b) = self.permutations.offsets.split_at(n_wide);
        lower_chunks::<WIDE>(self.hashes, wide_a, wide_b, wide);
        lower_chunks::<NARROW>(self.hashes, narrow_a, narrow_b, narrow);
    }
}

#[inline(always)]
fn lower_chunks<const N: usize>(hashes: &[u32], a: &[u32], b: &[u32], minima: &mut [u32]) {
    let (a, _) = a.as_chunks::<N>();
    let (b, _) = b.as_chunks::<N>();
    let (minima, _) = minima.as_chunks_mut::<N>();
    for ((a, b), minima) in a.iter().zip(b).zip(minima) {
        let mut least = *minima;
        for &hash in hashes {
            // By index: zipped iterators are calls here, which are not compiled for the vectors.
            for i in 0..N {
                least[i] = least[i].min(hash.wrapping_mul(a[i]).wrapping_add(b[i]));
            }
        }
        *minima = least;
    }
}

#[cfg(test)]
mod tests;
