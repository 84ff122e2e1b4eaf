//! Everything that the runner keeps on disk.
