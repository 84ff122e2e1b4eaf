//! Stopped runs: by signals, by deadlines, and against the resistance of guests.

mod deadlines;
mod signals;
mod stuck;
