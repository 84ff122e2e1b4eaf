//! The worker process: takes tasks off a socket, calls plugins, judges replies and reports whole rows; and the children
//! that compile plugins. It knows `model` and `sandbox`, has no path to a run directory and is not trusted.
//!
//! Begin reading at [`main_if_child`].

/// Runs a hidden child (`__worker`, `__compile`) and exits, if the command line asks for one; returns otherwise. The first
/// line of the program's `main`, before any thread exists.
pub fn main_if_child() {}
