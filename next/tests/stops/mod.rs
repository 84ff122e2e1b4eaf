//! Runs that are stopped: by signals, by deadlines, and while guests do what they can against it.

mod deadlines;
mod signals;
mod stuck;
