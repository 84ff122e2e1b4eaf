//! How much memory one input may take.

use std::alloc::System;

use cap::Cap;

/// In bytes. An input has some kilobytes, and what is made of it may be far larger, but not without a bound.
const MAX_BYTES: usize = 256 * 1024 * 1024;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, MAX_BYTES);
