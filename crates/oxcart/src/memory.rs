//! How the C library hands out memory.

/// Heaps that threads share.
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 4;
/// Bytes from which memory is taken from the system, and given back to it when it is freed.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 128 << 10;

/// Bounds what is kept of memory that was freed.
///
/// glibc gives each thread a heap of its own, and a heap keeps what was freed in it: layers are built by
/// one thread after the other, so each heap would grow to the largest layer's needs. One heap for all makes
/// threads wait for each other, in wheels of many small files for a third of the time.
pub(crate) fn bound_heaps() {
    #[cfg(target_env = "gnu")]
    #[expect(
        unsafe_code,
        reason = "settings of the C library that have no safe interface"
    )]
    // SAFETY: no other thread is running yet, and the calls only write numbers. That it may refuse to is no
    // harm.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
