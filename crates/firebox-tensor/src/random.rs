//! Counter-based random numbers: value `i` of a stream is a function of `(seed, stream, i)`.
//!
//! There is no hidden state to save, skip or share between threads: a run that resumes at step
//! `n` sets the position and goes on, and a tensor filled by eight threads has the same bytes as
//! one filled by one.
//!
//! The function is Philox4x32 with 10 rounds.
//!
//! Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3",
//! <https://doi.org/10.1145/2063384.2063405>, section 4.

use std::f64::consts::TAU;

/// One stream of random numbers and a position in it.
///
/// Each draw but [`CounterRng::below`] takes exactly one position.
///
/// # Examples
/// ```
/// use firebox_tensor::random::CounterRng;
///
/// let mut rng = CounterRng::new(42, 0);
/// let first = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
/// assert_eq!(rng.u64_at(1), first[1]);
/// assert_eq!(CounterRng::new(42, 0).at(2).next_u64(), first[2]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRng {
    seed: u64,
    stream: u64,
    position: u64,
}

impl CounterRng {
    /// The stream `stream` of `seed`, at position 0. Streams of one seed are independent: give one
    /// to each use (a layer's dropout, the sampler, the shuffle).
    pub fn new(seed: u64, stream: u64) -> Self {
        Self {
            seed,
            stream,
            position: 0,
        }
    }

    /// The same stream at `position`.
    pub fn at(mut self, position: u64) -> Self {
        self.position = position;
        self
    }

    /// Where the next draw is taken from.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let value = self.u64_at(self.position);
        self.position = self.position.wrapping_add(1);
        value
    }

    /// The next value uniform in `[0, 1)`, a multiple of `2^-24`.
    pub fn uniform(&mut self) -> f32 {
        unit_interval(self.next_u64())
    }

    /// The next value from the standard normal distribution.
    pub fn normal(&mut self) -> f32 {
        box_muller(self.next_u64())
    }

    /// A uniform integer below `n`, without bias. May take more than one position.
    ///
    /// Source: Lemire (2019), <https://arxiv.org/abs/1805.10941>, algorithm 5.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "no integer is below 0");
        // The high word of `bits * n` is the answer; the low words below `2^64 mod n` are the ones
        // that would make some answers likelier than others.
        let n_biased = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= n_biased {
                return (product >> 64) as u64;
            }
        }
    }

    /// The 64 random bits at `position`.
    pub fn u64_at(&self, position: u64) -> u64 {
        let block = position / 2;
        let counter = [low(block), high(block), low(self.stream), high(self.stream)];
        let [a, b, c, d] = philox4x32(counter, [low(self.seed), high(self.seed)]);
        let [first, second] = if position.is_multiple_of(2) {
            [a, b]
        } else {
            [c, d]
        };
        u64::from(second) << 32 | u64::from(first)
    }

    /// The value that [`CounterRng::uniform`] gives at `position`.
    pub fn uniform_at(&self, position: u64) -> f32 {
        unit_interval(self.u64_at(position))
    }

    /// The value that [`CounterRng::normal`] gives at `position`.
    pub fn normal_at(&self, position: u64) -> f32 {
        box_muller(self.u64_at(position))
    }
}

/// The top 24 bits as a fraction: all that an f32 below 1 holds evenly.
fn unit_interval(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1 << 24) as f32
}

/// `sqrt(-2 ln u1) cos(2 pi u2)` with `u1` in `(0, 1)` from the high half of the bits and `u2` from
/// the low half. Computed in f64; the largest magnitude is 6.76.
fn box_muller(bits: u64) -> f32 {
    const SCALE: f64 = 1.0 / (1_u64 << 32) as f64;
    let u1 = (f64::from(high(bits)) + 0.5) * SCALE;
    let u2 = f64::from(low(bits)) * SCALE;
    ((-2.0 * u1.ln()).sqrt() * (TAU * u2).cos()) as f32
}

/// Philox4x32-10: ten rounds of two 32-bit multiplications, keyed by a Weyl sequence.
fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for _ in 0..10 {
        let left = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let right = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            high(right) ^ counter[1] ^ key[0],
            low(right),
            high(left) ^ counter[3] ^ key[1],
            low(left),
        ];
        key = [
            key[0].wrapping_add(KEY_STEPS[0]),
            key[1].wrapping_add(KEY_STEPS[1]),
        ];
    }
    counter
}

fn low(word: u64) -> u32 {
    word as u32
}

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests;
