//! The examples of the pages that show this crate, tested with it.

/// The README's.
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Those of the page about Rust.
#[doc = include_str!("../../rust.md")]
struct RustPage;
