//! Orders: the same seed and epoch give the same permutation, on every machine.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The order in which an epoch visits its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they came, every epoch alike.
    #[default]
    InOrder,
    /// A new permutation each epoch.
    Shuffled {
        /// Decides all of them.
        seed: u64,
    },
}

/// The positions of `n_items` in any epoch, keeping the last epoch's permutation.
#[derive(Debug)]
pub(crate) struct EpochOrder {
    n_items: usize,
    order: Order,
    last: Mutex<Option<(u64, Vec<usize>)>>,
}

impl EpochOrder {
    pub(crate) fn new(n_items: usize, order: Order) -> Self {
        Self {
            n_items,
            order,
            last: Mutex::new(None),
        }
    }

    /// The items at the given places of an epoch's order.
    pub(crate) fn items(&self, epoch: u64, places: std::ops::Range<usize>) -> Vec<usize> {
        let Order::Shuffled { seed } = self.order else {
            return places.collect();
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((last_epoch, permutation)) if *last_epoch == epoch => permutation[places].to_vec(),
            stale => {
                let permutation = permutation(self.n_items, seed, epoch);
                let items = permutation[places].to_vec();
                *stale = Some((epoch, permutation));
                items
            }
        }
    }
}

/// A permutation of `0..n_items`, by Fisher and Yates' shuffle from the last item down.
fn permutation(n_items: usize, seed: u64, epoch: u64) -> Vec<usize> {
    // The epoch passes through the generator first: neighbouring seeds and epochs do not overlap.
    let mut random = SplitMix64 {
        state: seed ^ SplitMix64 { state: epoch }.next(),
    };
    let mut items: Vec<usize> = (0..n_items).collect();
    for last in (1..n_items).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
    items
}

/// A 64-bit generator of one addition and one mixing function.
///
/// Source: Steele, Lea and Flood (2014), <https://doi.org/10.1145/2714064.2660195>.
pub(crate) struct SplitMix64 {
    pub(crate) state: u64,
}

impl SplitMix64 {
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`: the high half of a product, which is uniform up to `bound / 2^64`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests;
