//! Rows by the space that is free in them.

/// Finds the row with the least free space that is enough: rows in buckets by free space, and over
/// the buckets a tree of bits, 64 children a node, that says which are not empty.
pub(super) struct FreeSpace {
    /// Rows with as much free space as their index.
    rows: Vec<Vec<usize>>,
    /// `levels[0]` has a bit for each bucket, each further level one for each word below it.
    levels: Vec<Vec<u64>>,
}

impl FreeSpace {
    /// For rows of `capacity` tokens.
    pub(super) fn new(capacity: usize) -> Self {
        let mut levels = Vec::new();
        let mut n_bits = capacity + 1;
        loop {
            let n_words = n_bits.div_ceil(64);
            levels.push(vec![0; n_words]);
            if n_words == 1 {
                break;
            }
            n_bits = n_words;
        }
        Self {
            rows: vec![Vec::new(); capacity + 1],
            levels,
        }
    }

    /// Files a row. One without free space is not kept.
    pub(super) fn put(&mut self, row: usize, free: usize) {
        if free == 0 {
            return;
        }
        self.rows[free].push(row);
        let mut index = free;
        for level in &mut self.levels {
            level[index / 64] |= 1 << (index % 64);
            index /= 64;
        }
    }

    /// Takes out the last filed of the rows with the least free space that is at least `length`, and
    /// says how much that is.
    pub(super) fn take_tightest(&mut self, length: usize) -> Option<(usize, usize)> {
        let free = self.next_filled(length)?;
        let row = self.rows[free].pop()?;
        if self.rows[free].is_empty() {
            self.clear(free);
        }
        Some((row, free))
    }

    fn clear(&mut self, free: usize) {
        let mut index = free;
        for level in &mut self.levels {
            level[index / 64] &= !(1 << (index % 64));
            if level[index / 64] != 0 {
                return;
            }
            index /= 64;
        }
    }

    /// The first bucket from `start` on that is not empty: up the tree until a later sibling is
    /// there, then down along its first children.
    fn next_filled(&self, start: usize) -> Option<usize> {
        let mut index = start;
        for (height, level) in self.levels.iter().enumerate() {
            let later = level.get(index / 64)? & (u64::MAX << (index % 64));
            if later != 0 {
                let mut found = index / 64 * 64 + later.trailing_zeros() as usize;
                for below in self.levels[..height].iter().rev() {
                    found = found * 64 + below[found].trailing_zeros() as usize;
                }
                return Some(found);
            }
            index = index / 64 + 1;
        }
        None
    }
}
