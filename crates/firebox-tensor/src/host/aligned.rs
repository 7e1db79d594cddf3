//! Memory that begins at a cache line.

use bytemuck::{Pod, Zeroable};

/// One cache line.
#[derive(Clone, Copy, Zeroable, Pod)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Zeroed bytes that begin at a cache line, so that no vector lies across two.
#[derive(Clone)]
pub struct AlignedBuffer {
    lines: Vec<Line>,
    n_bytes: usize,
}

impl AlignedBuffer {
    /// `n_bytes` zeros.
    pub fn zeroed(n_bytes: usize) -> Self {
        let lines = vec![Line([0; 64]); n_bytes.div_ceil(64)];
        Self { lines, n_bytes }
    }

    /// The bytes as values.
    ///
    /// # Panics
    /// When the length is no multiple of theirs.
    pub fn values<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(&bytemuck::cast_slice::<_, u8>(&self.lines)[..self.n_bytes])
    }

    /// As [`Self::values`], to write.
    pub fn values_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(
            &mut bytemuck::cast_slice_mut::<_, u8>(&mut self.lines)[..self.n_bytes],
        )
    }

    /// These bytes, then others.
    pub(crate) fn followed_by(&self, others: &Self) -> Self {
        let mut all = Self::zeroed(self.n_bytes + others.n_bytes);
        let (first, second) = all.values_mut::<u8>().split_at_mut(self.n_bytes);
        first.copy_from_slice(self.values());
        second.copy_from_slice(others.values());
        all
    }

    /// How many bytes.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.n_bytes)
    }
}
