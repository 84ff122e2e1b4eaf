//! One run of the shards of a plan.
//!
//! A shard counts its rows, its sessions and its trials from the beginning, as any run does. The merged run has the sessions of
//! all shards, one shard after the other, and each row behind those of the shards before its own; so a session's rows still
//! follow each other, and what a session was asked for happens between the same rows. Only numbers change: those of rows, of
//! sessions and of trials. Where a row comes from is told once for each session, which is why no row says it.

mod copy;
mod line;
mod logs;
mod look;
mod manifest;
mod places;
mod problem;
mod rows;
mod together;
mod write;

pub use self::{
    look::ShardRun,
    places::TrialPlaces,
    problem::ShardProblem,
    together::check_shards,
    write::{MergedFrom, merge, merged_from},
};
