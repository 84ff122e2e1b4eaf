//! Stopped runs: by signals, by deadlines, and against the resistance of guests.

mod control;
mod deadlines;
mod early;
mod signals;
mod stuck;
