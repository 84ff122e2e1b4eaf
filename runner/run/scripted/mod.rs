//! Executors of tests: they do what a script says, on a clock that nobody waits for.
//!
//! They stand behind the same messages as those of this process, so that any schedule can be made to happen to the
//! dispatcher, thousands in a second.

mod agenda;
mod audit;
mod executor;
mod graded;
mod lacking;
mod machines;
mod random;
mod shape;
mod tests;
mod world;
