//! [`Begin`]: what is told of a session when its run can be listed.

use std::{io, path::Path};

use fs_err::File;

use crate::{
    model::Grants,
    record::{RunEntry, RunId},
};

/// What is told of a session when its run can be listed.
pub struct Begin<'a> {
    /// The run's id.
    pub run: &'a RunId,
    /// The run's directory.
    pub run_dir: &'a Path,
    /// The scenario's name.
    pub scenario: &'a str,
    /// How many trials are planned.
    pub planned: u64,
    /// How many providers there are.
    pub providers: usize,
    /// What each of them is granted.
    pub grants: Vec<(&'a str, &'a Grants)>,
    /// How many attempts run at once.
    pub jobs: usize,
    /// Whether workers on other machines make them, as many at once as these carry.
    pub is_spread: bool,
    /// Opens the run's log once more, for whoever has something to add to it.
    pub open_log: &'a dyn Fn() -> io::Result<File>,
}

/// A run that was to be gone on with, and needs nothing more.
pub struct NothingLeft<'a> {
    /// The run.
    pub run: &'a RunEntry,
    /// How many of its trials came to no verdict.
    pub unjudged: u64,
}
