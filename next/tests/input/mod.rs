//! Bad input at every door: what is said, the exit code, and that nothing is left behind.

mod plugins;
mod scenarios;
