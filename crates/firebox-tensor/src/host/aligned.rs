//! Memory that begins at a cache line.

#![expect(unsafe_code, reason = "part of a region is lent as a slice")]

use std::sync::Arc;

use bytemuck::Pod;

use super::region::{Arena, Region};

/// Bytes that begin at a cache line, so that no vector lies across two.
pub struct AlignedBuffer {
    region: Arc<Region>,
    /// Where this buffer's bytes begin; they are its alone.
    offset: usize,
    n_bytes: usize,
}

impl AlignedBuffer {
    /// `n_bytes` zeros.
    pub fn zeroed(n_bytes: usize) -> Self {
        Self {
            region: Arc::new(Region::zeroed(n_bytes)),
            offset: 0,
            n_bytes,
        }
    }

    /// `n_bytes` zeros beside others.
    pub fn zeroed_in(arena: &mut Arena, n_bytes: usize) -> Self {
        let (region, offset) = arena.take(n_bytes);
        Self {
            region,
            offset,
            n_bytes,
        }
    }

    /// The bytes as values.
    ///
    /// # Panics
    /// When the length is no multiple of theirs.
    pub fn values<T: Pod>(&self) -> &[T] {
        // SAFETY: the region is good for these bytes, which are initialized and this buffer's alone:
        // they change only through `values_mut`, which borrows it.
        let bytes = unsafe { std::slice::from_raw_parts(self.start(), self.n_bytes) };
        bytemuck::cast_slice(bytes)
    }

    /// As [`Self::values`], to write.
    ///
    /// # Panics
    /// As [`Self::values`].
    pub fn values_mut<T: Pod>(&mut self) -> &mut [T] {
        // SAFETY: as in `values`, and the buffer is borrowed alone.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start(), self.n_bytes) };
        bytemuck::cast_slice_mut(bytes)
    }

    fn start(&self) -> *mut u8 {
        self.region.start().wrapping_add(self.offset)
    }

    /// How many bytes.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.n_bytes);
        copy.values_mut::<u8>().copy_from_slice(self.values());
        copy
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.n_bytes)
    }
}
