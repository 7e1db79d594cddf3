//! The ids of words that were seen before, in bounded memory.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

/// Bytes of the longest word that is stored in its slot.
pub(super) const MAX_SHORT_BYTES: usize = 15;
/// Bytes of the longest word that is kept at all.
const MAX_LONG_BYTES: usize = 256;
/// Slots for short words, in pairs of which the older makes room: 4 MiB.
const N_SLOTS: usize = 1 << 17;
/// Ids of words with more than three, before everything is forgotten: 2 MiB.
const MAX_SPILLED_IDS: usize = 1 << 19;
/// Long words, before they are forgotten.
const MAX_LONG_WORDS: usize = 1 << 13;

/// A short word as a number: its bytes, then its length and a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortKey(u128);

impl ShortKey {
    /// The key of `text[start..end]`, of 1 to [`MAX_SHORT_BYTES`] bytes. Pieces of words are kept apart
    /// from words.
    #[inline]
    pub(super) fn new(text: &[u8], start: usize, end: usize, is_piece: bool) -> Self {
        let n_bytes = end - start;
        let bytes = match text.get(start..start + 16) {
            Some(bytes) => {
                let mut wide = [0; 16];
                wide.copy_from_slice(bytes);
                u128::from_le_bytes(wide) & ((1 << (8 * n_bytes)) - 1)
            }
            None => {
                let mut wide = [0; 16];
                wide[..n_bytes].copy_from_slice(&text[start..end]);
                u128::from_le_bytes(wide)
            }
        };
        Self(bytes | (n_bytes as u128) << 120 | u128::from(is_piece) << 127)
    }

    /// Whether every byte is ASCII.
    #[inline]
    pub(super) fn is_ascii(self) -> bool {
        const HIGH_BITS: u128 = 0x0080_8080_8080_8080_8080_8080_8080_8080;
        self.0 & HIGH_BITS == 0
    }

    /// The pair of slots that the word may lie in.
    #[inline]
    fn pair_of_slots(self) -> usize {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        let mixed =
            u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xd6e8_feb8_6659_fd93);
        let folded = mixed as u64 ^ (mixed >> 64) as u64;
        2 * (folded as usize & (N_SLOTS / 2 - 1))
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    key: ShortKey,
    /// The ids, or where they start in the spilled ones.
    ids: [u32; 3],
    n_ids: u32,
}

const EMPTY: Slot = Slot {
    key: ShortKey(0),
    ids: [0; 3],
    n_ids: 0,
};

/// Words and their ids; one a thread.
#[derive(Debug)]
pub(super) struct WordCache {
    slots: Vec<Slot>,
    spilled: Vec<u32>,
    long: HashMap<Box<[u8]>, Box<[u32]>, FxBuildHasher>,
}

impl Default for WordCache {
    fn default() -> Self {
        Self {
            slots: vec![EMPTY; N_SLOTS],
            spilled: Vec::new(),
            long: HashMap::default(),
        }
    }
}

impl WordCache {
    /// Appends the ids of a short word; false if they are not known.
    #[inline]
    pub(super) fn push_short(&self, key: ShortKey, ids: &mut Vec<u32>) -> bool {
        let first = key.pair_of_slots();
        let pair = &self.slots[first..first + 2];
        let slot = match (pair[0].key == key, pair[1].key == key) {
            (true, _) => &pair[0],
            (_, true) => &pair[1],
            _ => return false,
        };
        match slot.n_ids {
            1 => ids.push(slot.ids[0]),
            2 => ids.extend_from_slice(&slot.ids[..2]),
            3 => ids.extend_from_slice(&slot.ids),
            n_ids => {
                let start = slot.ids[0] as usize;
                ids.extend_from_slice(&self.spilled[start..start + n_ids as usize]);
            }
        }
        true
    }

    /// Keeps the ids of a short word; the older word of its pair of slots is forgotten.
    pub(super) fn insert_short(&mut self, key: ShortKey, ids: &[u32]) {
        if ids.is_empty() {
            return;
        }
        let mut slot = Slot {
            key,
            ids: [0; 3],
            n_ids: ids.len() as u32,
        };
        if ids.len() <= 3 {
            slot.ids[..ids.len()].copy_from_slice(ids);
        } else {
            if self.spilled.len() + ids.len() > MAX_SPILLED_IDS {
                self.spilled.clear();
                self.slots.fill(EMPTY);
            }
            slot.ids[0] = self.spilled.len() as u32;
            self.spilled.extend_from_slice(ids);
        }
        let first = key.pair_of_slots();
        self.slots[first + 1] = self.slots[first];
        self.slots[first] = slot;
    }

    /// Appends the ids of a long word; false if they are not known.
    pub(super) fn push_long(&self, word: &[u8], ids: &mut Vec<u32>) -> bool {
        match self.long.get(word) {
            Some(known) => ids.extend_from_slice(known),
            None => return false,
        }
        true
    }

    /// Keeps the ids of a long word, if it is not too long.
    pub(super) fn insert_long(&mut self, word: &[u8], ids: &[u32]) {
        if word.len() > MAX_LONG_BYTES {
            return;
        }
        if self.long.len() >= MAX_LONG_WORDS {
            self.long.clear();
        }
        self.long.insert(word.into(), ids.into());
    }
}
