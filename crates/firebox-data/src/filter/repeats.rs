//! Counting what occurs again: lines, paragraphs, n-grams, each by its 64-bit hash.

/// A set of hashes with a count for each, in one allocation that is used again.
#[derive(Debug, Default)]
pub(super) struct HashCounts {
    slots: Vec<Slot>,
    mask: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The hash; 0 is an empty slot.
    key: u64,
    count: u32,
    first: u32,
}

/// Spreads a hash over the table; the golden ratio, as in Knuth's multiplicative hashing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl HashCounts {
    /// Empties it, with room for `n_keys` different hashes.
    pub(super) fn clear(&mut self, n_keys: usize) {
        let n_slots = (n_keys * 2).next_power_of_two().max(16);
        self.slots.clear();
        self.slots.resize(n_slots, Slot::default());
        self.mask = n_slots - 1;
    }

    /// Counts a hash; gives how often it has now occurred and the index with which it first did.
    pub(super) fn add(&mut self, hash: u64, index: u32) -> (u32, u32) {
        let key = hash.max(1);
        let mut at = (key.wrapping_mul(SPREAD) >> 32) as usize & self.mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.key == key {
                slot.count = slot.count.saturating_add(1);
                return (slot.count, slot.first);
            }
            if slot.key == 0 {
                *slot = Slot {
                    key,
                    count: 1,
                    first: index,
                };
                return (1, index);
            }
            at = (at + 1) & self.mask;
        }
    }
}

/// What comes again in a list of texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Duplicates {
    pub(super) n_elements: usize,
    pub(super) n_duplicates: usize,
    pub(super) n_duplicate_characters: usize,
}

impl Duplicates {
    /// Counts the elements that are equal to an earlier one, and their characters.
    pub(super) fn among<'t>(elements: impl Iterator<Item = &'t str>) -> Self {
        let mut seen = rustc_hash::FxHashSet::default();
        let mut found = Self::default();
        for element in elements {
            found.n_elements += 1;
            if !seen.insert(xxhash_rust::xxh3::xxh3_64(element.as_bytes())) {
                found.n_duplicates += 1;
                found.n_duplicate_characters += element.chars().count();
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Duplicates, HashCounts};

    #[test]
    fn duplicates_count_all_but_the_first() {
        let found = Duplicates::among(["a", "bé", "a", "bé", "bé"].into_iter());
        assert_eq!(
            (
                found.n_elements,
                found.n_duplicates,
                found.n_duplicate_characters
            ),
            (5, 3, 5)
        );
    }

    #[test]
    fn counts_remember_the_first_index_and_survive_collisions() {
        let mut counts = HashCounts::default();
        counts.clear(100);
        for index in 0..100u32 {
            // Equal low and high halves of few values: long probe chains.
            assert_eq!(counts.add(u64::from(index) << 40, index), (1, index));
        }
        assert_eq!(counts.add(7 << 40, 200), (2, 7));
        assert_eq!(counts.add(0, 201), (2, 0));
        counts.clear(1);
        assert_eq!(counts.add(7 << 40, 3), (1, 3));
    }
}
