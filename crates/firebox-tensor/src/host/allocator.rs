//! What the C library's allocator does with freed memory.

/// Keeps freed memory for the next allocation instead of giving it back to the system.
///
/// A training step frees and takes the same gigabyte again and again. glibc returns large blocks to
/// the system at once, and each return makes every core drop its address translations: on a
/// virtual machine that was half of the time of a small step. The process's peak grows by a few
/// percent. Does nothing where the C library is another.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::keep_freed_memory();
}

/// Gives freed blocks of a megabyte and more back to the system at once.
///
/// glibc raises that size to 32 MiB as such blocks are freed, and what a model's loading and a long
/// prompt took stays with the process. Does nothing where the C library is another.
pub fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::return_freed_memory();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    /// Blocks of this size lie apart.
    const APART_BYTES: libc::c_int = 1 << 20;

    /// Taken from the system at a time.
    const TOP_PAD_BYTES: libc::c_int = 64 << 20;

    #[expect(unsafe_code, reason = "a function of the C library")]
    pub(super) fn return_freed_memory() {
        // SAFETY: as below.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, APART_BYTES);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * APART_BYTES);
        }
    }

    #[expect(unsafe_code, reason = "a function of the C library")]
    pub(super) fn keep_freed_memory() {
        // SAFETY: `mallopt` takes numbers and locks the allocator's state itself. A setting that it
        // refuses stays as it was.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            libc::mallopt(libc::M_TOP_PAD, TOP_PAD_BYTES);
        }
    }
}
