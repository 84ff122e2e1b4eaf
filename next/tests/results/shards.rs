//! `--shard`.
