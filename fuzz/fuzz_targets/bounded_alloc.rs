//! An allocator that ends the run at the first allocation that no file of the fuzzer's size explains.

use std::alloc::{GlobalAlloc, Layout, System};

/// The fuzzer's files have a few kilobytes; decoding and JSON make at most some hundred times that.
const MAX_BYTES: usize = 16 << 20;

struct Bounded;

#[global_allocator]
static BOUNDED: Bounded = Bounded;

fn check(n_bytes: usize) {
    if n_bytes > MAX_BYTES {
        eprintln!("allocation of {n_bytes} bytes, more than {MAX_BYTES}");
        std::process::abort();
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller upholds `alloc`'s conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller upholds `alloc_zeroed`'s conditions.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds `dealloc`'s conditions.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, n_bytes: usize) -> *mut u8 {
        check(n_bytes);
        // SAFETY: the caller upholds `realloc`'s conditions.
        unsafe { System.realloc(pointer, layout, n_bytes) }
    }
}
