//! Settings of the allocator.

use std::ffi::c_int;

/// Makes large blocks return to the system when they are freed.
///
/// By default, glibc raises its threshold once a large block is freed, and later blocks stay in the heaps of their threads. With
/// 20 browsers that follow a run of 10^6 trials, the server then has 10 to 20 MB more.
pub(crate) fn return_large_blocks() {
    /// `M_MMAP_THRESHOLD` of `malloc.h`.
    const MMAP_THRESHOLD: c_int = -3;
    const LARGE: c_int = 256 << 10;

    #[expect(unsafe_code, reason = "declares a function of glibc, which takes any numbers")]
    unsafe extern "C" {
        safe fn mallopt(param: c_int, value: c_int) -> c_int;
    }
    // An allocator without this setting only uses more memory.
    let _ = mallopt(MMAP_THRESHOLD, LARGE);
}
