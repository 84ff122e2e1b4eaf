//! [`GroupMember`] and [`GroupConclusion`]: what is told of the runs of a group.

use crate::{
    error::{Error, ExitStatus},
    record::Conclusion,
};

/// A run of a group that is about to begin.
#[derive(Debug)]
pub struct GroupMember<'a> {
    /// Which of them, from 1.
    pub place: usize,
    /// How many there are.
    pub of: usize,
    /// What it runs: the scenario's file, or the name of the scenario of a run that is gone on with.
    pub name: &'a str,
}

/// What became of a group.
#[derive(Debug)]
pub struct GroupConclusion {
    /// The group's id.
    pub id: String,
    /// What has run, each with what became of it.
    pub ended: Vec<GroupEnd>,
    /// What has not begun, because somebody has stopped one before.
    pub not_begun: Vec<String>,
    /// What has nothing that was selected.
    pub without_tests: Vec<String>,
    /// What of it is worst.
    pub status: ExitStatus,
}

/// What became of one run of a group.
#[derive(Debug)]
pub struct GroupEnd {
    /// What it was of, as [`GroupMember::name`] has it.
    pub name: String,
    /// Its conclusion, or why it could not begin.
    pub result: Result<Conclusion, Error>,
}
