//! Byte-pair merges on token ids, in place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A pair that is not merged; larger than every packed merge.
const NO_MERGE: u64 = u64::MAX;
/// A pair of ids that cannot occur: no vocabulary has this id, see [`MergeTable::new`].
const EMPTY: u64 = u64::MAX;
/// Words of at most so many symbols are merged by scanning for the best pair, longer ones with a heap.
const MAX_SCANNED: usize = 40;

/// Which two ids become which, and how early: an open-addressing table.
#[derive(Debug)]
pub(super) struct MergeTable {
    /// Pairs, left id in the high half, and what they become, rank in the high half.
    slots: Vec<(u64, u64)>,
    shift: u32,
}

impl MergeTable {
    /// A table of `(left id, right id, merged id)` in order of rank; of two merges of one pair the
    /// later counts. Ids must be below `u32::MAX`.
    pub(super) fn new(merges: &[(u32, u32, u32)]) -> Self {
        let n_bits = (merges.len() * 2)
            .max(2)
            .next_power_of_two()
            .trailing_zeros();
        let mut table = Self {
            slots: vec![(EMPTY, NO_MERGE); 1 << n_bits],
            shift: u64::BITS - n_bits,
        };
        for (rank, &(left, right, merged)) in (0u64..).zip(merges) {
            let pair = pack(left, right);
            let slot = table.find(pair);
            table.slots[slot] = (pair, rank << 32 | u64::from(merged));
        }
        table
    }

    /// What a pair becomes: rank in the high half, id in the low one, or [`NO_MERGE`].
    #[inline]
    fn get(&self, left: u32, right: u32) -> u64 {
        self.slots[self.find(pack(left, right))].1
    }

    /// The slot of a pair, or the empty one where it would be.
    #[inline]
    fn find(&self, pair: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        loop {
            let found = self.slots[slot & mask].0;
            if found == pair || found == EMPTY {
                return slot & mask;
            }
            slot += 1;
        }
    }
}

/// Memory of a merge, kept between words.
#[derive(Debug, Default)]
pub(super) struct MergeBuffers {
    /// What each symbol and the next one become.
    pairs: Vec<u64>,
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

impl MergeTable {
    /// Merges the pair of least rank, the leftmost of equals, until no pair is left to merge.
    ///
    /// Source: Sennrich, Haddow and Birch (2016), section 3.2, <https://arxiv.org/abs/1508.07909>.
    pub(super) fn merge(&self, ids: &mut Vec<u32>, buffers: &mut MergeBuffers) {
        if ids.len() < 2 {
            return;
        }
        buffers.pairs.clear();
        let pairs = ids.windows(2).map(|pair| self.get(pair[0], pair[1]));
        buffers.pairs.extend(pairs);
        if ids.len() <= MAX_SCANNED {
            self.merge_scanning(ids, &mut buffers.pairs);
        } else {
            self.merge_by_heap(ids, buffers);
        }
    }

    /// For short words: the best pair is found by looking at all of them. Quadratic.
    fn merge_scanning(&self, ids: &mut Vec<u32>, pairs: &mut Vec<u64>) {
        loop {
            let (mut best, mut at) = (NO_MERGE, 0);
            for (position, &pair) in pairs.iter().enumerate() {
                if pair < best {
                    (best, at) = (pair, position);
                }
            }
            if best == NO_MERGE {
                return;
            }
            ids[at] = best as u32;
            ids.remove(at + 1);
            pairs.remove(at);
            if at > 0 {
                pairs[at - 1] = self.get(ids[at - 1], ids[at]);
            }
            if at < pairs.len() {
                pairs[at] = self.get(ids[at], ids[at + 1]);
            }
        }
    }

    /// For long words: a heap of pairs over a list of symbols. `n log n`.
    fn merge_by_heap(&self, ids: &mut Vec<u32>, buffers: &mut MergeBuffers) {
        let n_symbols = ids.len() as u32;
        let MergeBuffers {
            pairs,
            next,
            previous,
            heap,
        } = buffers;
        pairs.push(NO_MERGE);
        next.clear();
        next.extend(1..=n_symbols);
        previous.clear();
        previous.extend((0..n_symbols).map(|position| position.wrapping_sub(1)));
        heap.clear();
        heap.extend((0..n_symbols).filter_map(|position| entry(pairs, position)));

        while let Some(Reverse((rank, position))) = heap.pop() {
            let at = position as usize;
            let pair = pairs[at];
            if pair == NO_MERGE || (pair >> 32) as u32 != rank {
                continue; // One of the two has been merged into another since.
            }
            let right = next[at] as usize;
            let behind = next[right];
            ids[at] = pair as u32;
            pairs[right] = NO_MERGE;
            ids[right] = u32::MAX; // Marks it as removed.
            next[at] = behind;
            pairs[at] = NO_MERGE;
            if behind < n_symbols {
                previous[behind as usize] = position;
                pairs[at] = self.get(ids[at], ids[behind as usize]);
                heap.extend(entry(pairs, position));
            }
            let before = previous[at];
            if before < n_symbols {
                pairs[before as usize] = self.get(ids[before as usize], ids[at]);
                heap.extend(entry(pairs, before));
            }
        }
        ids.retain(|&id| id != u32::MAX);
    }
}

/// The heap entry of the pair at a position, if it can be merged.
fn entry(pairs: &[u64], position: u32) -> Option<Reverse<(u32, u32)>> {
    let pair = pairs[position as usize];
    (pair != NO_MERGE).then_some(Reverse(((pair >> 32) as u32, position)))
}

#[inline]
fn pack(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}
