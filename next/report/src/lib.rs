//! The documents that answer questions about runs.
