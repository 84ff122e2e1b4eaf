//! Calls a plugin in a sandbox of its own.
