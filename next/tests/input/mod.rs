//! Bad input at every door: what is said, the exit code, and that nothing is left behind.

mod folders;
mod plugins;
mod scenarios;
mod secrets;
mod validate;
