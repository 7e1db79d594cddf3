//! Zeroed memory for what is read from end to end, on huge pages where the system gives them.
//!
//! A decoding step reads every weight once. With pages of 4 KiB the processor translates an address
//! and restarts its prefetcher every 64 cache lines: on the machine of `benches/results`, huge pages
//! made the step of one thread half as long again as fast.

#![expect(unsafe_code, reason = "memory is taken from the system")]

use std::ptr::NonNull;
use std::sync::Arc;

#[cfg(not(target_os = "linux"))]
use self::heap as system;
#[cfg(target_os = "linux")]
use self::linux as system;

/// Bytes of a huge page.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes that an [`Arena`] takes at a time. Untouched pages cost nothing, but on average half a huge page
/// behind what was given out.
const CHUNK_BYTES: usize = 32 << 20;

/// The same for the weights of a model, of which many fit a chunk.
const WEIGHTS_CHUNK_BYTES: usize = 128 << 20;

/// A cache line, so that no vector lies across two.
const LINE: usize = 64;

/// Memory that is given back when it is dropped.
pub(super) struct Region {
    start: NonNull<u8>,
    n_bytes: usize,
}

// SAFETY: the memory belongs to the region alone; who reads and writes which part is up to those who
// hold a reference.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Zeros, from a cache line on.
    pub(super) fn zeroed(n_bytes: usize) -> Self {
        let n_bytes = n_bytes.max(1).next_multiple_of(LINE);
        let start = if n_bytes < HUGE_PAGE {
            heap::zeroed(n_bytes)
        } else {
            system::zeroed(n_bytes)
        };
        Self { start, n_bytes }
    }

    /// Where it begins; good for the bytes that were asked for, until the region is dropped.
    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: taken in `zeroed` in the same way, with this size.
        unsafe {
            if self.n_bytes < HUGE_PAGE {
                heap::free(self.start, self.n_bytes);
            } else {
                system::free(self.start, self.n_bytes);
            }
        }
    }
}

/// Gives out memory that lies together and is given back together, when everything that was taken
/// from a chunk of it is dropped.
pub struct Arena {
    /// Bytes that are taken from the system at a time; 0 for every buffer apart.
    chunk_bytes: usize,
    chunk: Option<Arc<Region>>,
    /// Bytes of the chunk that are given out.
    n_taken: usize,
}

impl Arena {
    /// Nothing is taken from the system yet.
    pub fn new() -> Self {
        Self::of_chunks(CHUNK_BYTES)
    }

    /// For a model's weights, which come and go together.
    pub fn of_weights() -> Self {
        Self::of_chunks(WEIGHTS_CHUNK_BYTES)
    }

    /// Every buffer is given back by itself: for what does not live long.
    pub fn apart() -> Self {
        Self::of_chunks(0)
    }

    fn of_chunks(chunk_bytes: usize) -> Self {
        Self {
            chunk_bytes,
            chunk: None,
            n_taken: 0,
        }
    }

    /// A region and where in it `n_bytes` zeros lie that nobody else has.
    pub(super) fn take(&mut self, n_bytes: usize) -> (Arc<Region>, usize) {
        let n_bytes = n_bytes.next_multiple_of(LINE);
        if n_bytes > self.chunk_bytes / 4 {
            return (Arc::new(Region::zeroed(n_bytes)), 0);
        }
        if self.n_taken + n_bytes > self.chunk_bytes {
            self.chunk = None;
        }
        let chunk = match &self.chunk {
            Some(chunk) => Arc::clone(chunk),
            None => {
                self.n_taken = 0;
                Arc::clone(
                    self.chunk
                        .insert(Arc::new(Region::zeroed(self.chunk_bytes))),
                )
            }
        };
        let offset = self.n_taken;
        self.n_taken += n_bytes;
        (chunk, offset)
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (n_taken, n) = (self.n_taken, self.chunk_bytes);
        write!(f, "Arena({n_taken} of {n} bytes taken)")
    }
}

/// From the program's allocator.
mod heap {
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::ptr::NonNull;

    fn layout(n_bytes: usize) -> Layout {
        Layout::from_size_align(n_bytes, super::LINE).expect("a size below half of the memory")
    }

    pub(super) fn zeroed(n_bytes: usize) -> NonNull<u8> {
        let layout = layout(n_bytes);
        // SAFETY: the size is not zero: a region has at least a line.
        NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// # Safety
    /// From [`zeroed`], with the same size.
    pub(super) unsafe fn free(start: NonNull<u8>, n_bytes: usize) {
        // SAFETY: says the caller.
        unsafe { dealloc(start.as_ptr(), layout(n_bytes)) }
    }
}

/// From the kernel, from the border of a huge page on.
#[cfg(target_os = "linux")]
mod linux {
    use std::alloc::{Layout, handle_alloc_error};
    use std::ptr::{self, NonNull};

    use super::HUGE_PAGE;

    fn map(n_bytes: usize) -> Option<NonNull<u8>> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping touches no memory in use.
        let start = unsafe { libc::mmap(ptr::null_mut(), n_bytes, protection, flags, -1, 0) };
        (start != libc::MAP_FAILED)
            .then_some(start.cast())
            .and_then(NonNull::new)
    }

    pub(super) fn zeroed(n_bytes: usize) -> NonNull<u8> {
        let out_of_memory = || handle_alloc_error(Layout::new::<u8>());
        // One huge page more, to begin at a border; both ends go back.
        let mapped = n_bytes.checked_add(HUGE_PAGE).and_then(map);
        let first = mapped.unwrap_or_else(out_of_memory).as_ptr();
        let n_before = first.align_offset(HUGE_PAGE);
        // The kernel maps whole small pages.
        let n_kept = n_bytes.next_multiple_of(4096);
        // SAFETY: parts of the mapping above that nobody uses; advice that is not taken changes
        // nothing.
        unsafe {
            let start = first.add(n_before);
            if n_before > 0 {
                libc::munmap(first.cast(), n_before);
            }
            libc::munmap(start.add(n_kept).cast(), HUGE_PAGE - n_before);
            libc::madvise(start.cast(), n_kept, libc::MADV_HUGEPAGE);
            NonNull::new_unchecked(start)
        }
    }

    /// # Safety
    /// From [`zeroed`], with the same size.
    pub(super) unsafe fn free(start: NonNull<u8>, n_bytes: usize) {
        // SAFETY: says the caller.
        unsafe { libc::munmap(start.as_ptr().cast(), n_bytes.next_multiple_of(4096)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_lies_apart_and_is_zero() {
        let mut arena = Arena::new();
        let sizes = [
            1,
            64,
            100_000,
            9 << 20,
            3 << 20,
            7 << 20,
            8 << 20,
            8 << 20,
            8 << 20,
            8 << 20,
        ];
        let taken: Vec<_> = sizes.iter().map(|n| (arena.take(*n), *n)).collect();
        drop(arena);
        for (i, ((region, offset), n)) in taken.iter().enumerate() {
            // SAFETY: these bytes of the region were given to nobody else.
            let bytes = unsafe { std::slice::from_raw_parts_mut(region.start().add(*offset), *n) };
            assert!(bytes.iter().all(|byte| *byte == 0), "{i}");
            assert_eq!(bytes.as_ptr().align_offset(LINE), 0);
            bytes.fill(i as u8 + 1);
        }
        for (i, ((region, offset), n)) in taken.iter().enumerate() {
            // SAFETY: as above.
            let bytes = unsafe { std::slice::from_raw_parts(region.start().add(*offset), *n) };
            assert!(bytes.iter().all(|byte| *byte == i as u8 + 1), "{i}");
        }
    }

    #[test]
    fn regions_of_any_size_are_taken_and_given_back() {
        for n in [
            0,
            1,
            HUGE_PAGE - 1,
            HUGE_PAGE,
            HUGE_PAGE + 1,
            3 * HUGE_PAGE + 4095,
        ] {
            let region = Region::zeroed(n);
            if n > 0 {
                // SAFETY: the last of the bytes that were asked for.
                unsafe { region.start().add(n - 1).write(7) };
            }
        }
    }
}
