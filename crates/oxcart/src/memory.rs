//! How the C library hands out memory.

/// Has all threads share one heap.
///
/// glibc gives each thread a heap of its own, and a heap keeps what was freed in it. Layers are built by
/// one thread after the other, so each heap would grow to the largest layer's needs: measured with one
/// wheel of 40,000 files on four threads, 118 MiB at the peak in place of 71. What is allocated while
/// layers are encoded are few large buffers that are used again, so threads do not wait for each other.
pub(crate) fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    #[expect(
        unsafe_code,
        reason = "a setting of the C library that has no safe interface"
    )]
    // SAFETY: no other thread is running yet, and the call only writes a number. That it may refuse to is
    // no harm.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
