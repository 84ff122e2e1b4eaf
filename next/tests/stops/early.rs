//! Signals in the first moments of a session, and between two sessions of one process.
