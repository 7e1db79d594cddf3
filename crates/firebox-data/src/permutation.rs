//! Permutations that are computed place by place, in constant memory.

use crate::shuffle::SplitMix64;

/// Half-rounds of the network: each mixes one half of the bits with the other.
const N_ROUNDS: usize = 10;

/// The domain has at least this many bits: fewer give the halves too little to mix.
const MIN_BITS: u32 = 8;

/// A pseudorandom permutation of `0..n_items`: the item at any place, without a table.
///
/// A Feistel network permutes the numbers of as many bits as `n_items` needs; a number outside the
/// range is put through again until it falls inside, which takes fewer than two passes on average (for
/// fewer than 128 items, `256 / n_items`). The same seed gives the same permutation on every machine.
///
/// # Examples
/// ```
/// use firebox_data::Permutation;
///
/// let order = Permutation::new(5, 42);
/// let mut items: Vec<u64> = (0..5).filter_map(|place| order.get(place)).collect();
/// items.sort_unstable();
/// assert_eq!(items, [0, 1, 2, 3, 4]);
/// assert_eq!(order.get(5), None);
/// ```
///
/// Source: Black and Rogaway (2002), <https://doi.org/10.1007/3-540-45760-7_9>, section 5
/// ("generalized Feistel") and section 3 ("cycle walking").
#[derive(Debug, Clone)]
pub struct Permutation {
    n_items: u64,
    left_bits: u32,
    right_bits: u32,
    keys: [u64; N_ROUNDS],
}

impl Permutation {
    /// The permutation of `0..n_items` that a seed decides.
    #[must_use]
    pub fn new(n_items: u64, seed: u64) -> Self {
        let n_bits = (u64::BITS - n_items.saturating_sub(1).leading_zeros()).max(MIN_BITS);
        let mut random = SplitMix64 { state: seed };
        Self {
            n_items,
            left_bits: n_bits / 2,
            right_bits: n_bits - n_bits / 2,
            keys: [(); N_ROUNDS].map(|()| random.next()),
        }
    }

    /// The item at a place; none from `n_items` on.
    #[must_use]
    pub fn get(&self, place: u64) -> Option<u64> {
        if place >= self.n_items {
            return None;
        }
        // The walk ends: it follows a cycle of the network that leads back to `place` at last.
        let mut item = self.encrypt(place);
        while item >= self.n_items {
            item = self.encrypt(item);
        }
        Some(item)
    }

    /// How many items there are.
    #[must_use]
    pub fn n_items(&self) -> u64 {
        self.n_items
    }

    fn encrypt(&self, number: u64) -> u64 {
        let (left_mask, right_mask) = ((1 << self.left_bits) - 1, (1 << self.right_bits) - 1);
        let mut left = number >> self.right_bits;
        let mut right = number & right_mask;
        for keys in self.keys.chunks_exact(2) {
            left ^= mixed(right, keys[0]) & left_mask;
            right ^= mixed(left, keys[1]) & right_mask;
        }
        (left << self.right_bits) | right
    }
}

fn mixed(half: u64, key: u64) -> u64 {
    SplitMix64 { state: half ^ key }.next()
}

#[cfg(test)]
mod tests;
