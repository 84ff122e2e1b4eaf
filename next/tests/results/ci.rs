//! Annotations and summaries for CI systems.
